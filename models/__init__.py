"""The autoencoders: they know arrays, not records, and nothing of the monitor.

base         what a kind of autoencoder is; kinds are found by discovery, one file each
lstm         the kind `lstm`: recurrent encoder, code, recurrent decoder
scaling      one offset and one scale a feature, from the training rows
cells        the rows and windows of a recording, as arrays, and what is wrong with them
split        training, validation and calibration parts
feeding      batches of scaled windows, gathered by index as training asks for them
backend      Keras on TensorFlow, loaded when needed: quiet and deterministic
fitting      Keras: early stopping, best epoch, the same weights from the same seed
training     split, fit, export, calibrate, check: from cells to a bundle
export       Keras to one ONNX graph in raw units
calibration  what scores and residuals of normal windows look like
bundle       the directory that training writes and serving reads
serving      a bundle's graph under ONNX Runtime, the same bits whatever the batch
picture      the curves of a training

Every module can be imported without TensorFlow, Keras, onnx, matplotlib and ONNX Runtime: they are imported where used.
"""
