"""The autoencoders: they know arrays, not records, and nothing of the monitor.

base         what a kind of autoencoder is; kinds are found by discovery, one file each
lstm         the kind `lstm`: recurrent encoder, code, recurrent decoder
dense        the kind `dense`: layers that shrink to the code, and their mirror
conv         the kind `conv`: strided convolutions along time
conv2d       the kind `conv2d`: the window as an image
tcn          the kind `tcn`: residual dilated convolutions
vae          the kind `vae`: a code that is a distribution; reconstruction probability
sparse       the kind `sparse`: a wide code of which few units answer
denoising    the kind `denoising`: from corrupted windows to clean ones
pca          the kind `pca`: the linear baseline
scaling      one offset and one scale a feature, from the training rows
settings     section `train`: which autoencoder, and how it is trained
extras       what is not in the base install, and which extra brings it
cells        the rows and windows of a recording, as arrays, and what is wrong with them
split        training, validation and calibration parts
feeding      batches of scaled windows, gathered by index as training asks for them
backend      Keras on TensorFlow, loaded when needed: quiet and deterministic; versions
fitting      Keras: early stopping, best epoch, the same weights from the same seed
checkpoint   what a killed training goes on from
training     split, fit, export, calibrate, check: from cells to a bundle
export       Keras to one ONNX graph in raw units
calibration  what scores and residuals of normal windows look like
view         what a member of a detector sees of a window
errors       what a member's residual is boiled down to: one number or one vector a window
linear       principal components in closed form, as a member
roster       which members a detector gets: a rule that looks at the training rows alone
detector     what a bundle says of its detector
ensemble     the preset `quality`: members, one bundle
sample       its training windows, scaled as its members see them
voices       how loud the residuals of its members are on normal windows
strangeness  how strange a log error is for its stream: quantiles and a tail that learn
fusion       one number for what several voices say
rehearsal    how high the training's own events stand when they are played through it
bundle       the directory that training writes and serving reads
workers      threads that score beside the one that asks, as many as there are cores for
chunk        the few numbers of windows that a graph is run on, and what it says of windows
engines      what runs a graph: ONNX Runtime, or OpenVINO
graph        an ONNX graph under ONNX Runtime, the same bits whatever the batch
serving      a bundle as it is served
codes        codes of windows, and windows of codes
sampling     windows drawn from a prior, or between two others
rounding     a bundle to serve whose weights have 8 bits
litert       a bundle's autoencoder for phones and microcontrollers, in float32 or 8 bits
micro        what a LiteRT file asks of a microcontroller: operators, memory
ranking      AUC-ROC, AUC-PR, VUS-PR
comparison   what a bundle makes of the labelled windows of its recording
evaluation   scores against labels: curves, the best line, what lines make of the windows
curves       the picture of an evaluation
colours      the colours of pictures
latent       codes in a plane: as they are, or by PCA, t-SNE, UMAP
report       what is in a bundle and what it makes of a recording, as one page; one file a section
search       hyper-parameters by trial, within a budget
picture      the curves of a training

Every module can be imported without TensorFlow, Keras, onnx, matplotlib and ONNX Runtime: they are imported where used.
"""
