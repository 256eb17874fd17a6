"""What one kind of autoencoder has and the others do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from models import backend, export, pca, vae
from models.base import Networks, Shape, find
from models.cells import TrainingError
from models.conv import halved
from models.fitting import Fitter
from tests.models.waves import feeds, settings, waves

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from models.base import Hyperparameters

SHAPE = Shape(12, 2)


def built(kind: str, shape: Shape = SHAPE, **changes: Any) -> tuple[Networks, Hyperparameters]:
    """Build the networks of a kind."""
    backend.load()
    hyper = settings(kind, **changes).resolve(shape)
    return find(kind).build(shape, hyper), hyper


def windows(count: int = 64) -> NDArray[np.float32]:
    """Return scaled windows without holes."""
    return feeds(waves(holes=0), 32)[0].take(np.arange(count))[0]


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("dense", {"code_size": 24}, "train.code_size 24 is no smaller than a window of 24 cells"),
        ("dense", {"nodes": [8, 16]}, r"train.nodes \[8, 16\] widen towards the code"),
        ("denoising", {"options": {"noise": "masking", "level": 1}}, "silences everything"),
        ("pca", {"nodes": [8]}, "pca has no layers"),
        ("pca", {"code_size": 25}, "more than the 24 cells"),
        ("pca", {"loss": "binary_crossentropy", "scaling": "minmax"}, "set it to mse"),
    ],
)
def test_what_a_kind_cannot_be_is_one_line(kind: str, changes: dict[str, Any], message: str) -> None:
    """A network that copies its input, or is not what its name says, would be trained without a word."""
    with pytest.raises(TrainingError, match=message):
        Fitter(find(kind), SHAPE, settings(kind, **changes).resolve(SHAPE))


def test_sensors_cannot_be_dropped_where_there_is_one() -> None:
    """Windows of nothing would be trained on."""
    shape, chosen = Shape(12, 1), settings("denoising", options={"noise": "sensors"})
    with pytest.raises(TrainingError, match="needs two features or more"):
        Fitter(find("denoising"), shape, chosen.resolve(shape))


@pytest.mark.parametrize(("length", "rows"), [(64, 1), (65, 5), (140, 9)])
def test_lstm_reads_several_rows_a_step_in_long_windows(length: int, rows: int) -> None:
    """A window of 140 rows would be 140 steps, which learn nothing in the time that there is."""
    shape = Shape(length, 2)
    networks, _ = built("lstm", shape, options={})
    steps = -(-length // rows)
    assert networks.decoder.layers[1].output.shape == (None, steps, 4)
    assert networks.autoencoder.output_shape == (None, length, 2)
    chosen, _ = built("lstm", Shape(10, 2), options={"rows_per_step": 3})
    assert chosen.decoder.layers[1].output.shape == (None, 4, 4)
    assert chosen.autoencoder.output_shape == (None, 10, 2)


def test_strides_halve_and_the_mirror_cuts_what_rounding_added() -> None:
    """A window length that is no power of two would come back longer."""
    assert halved(13, 3) == [13, 7, 4, 2]
    networks, _ = built("conv", Shape(13, 3), nodes=[4, 4, 4])
    sizes = [layer.output.shape[1] for layer in networks.encoder.layers if "conv2d" in layer.name]
    assert sizes == [7, 4, 2]
    assert networks.decoder.output_shape == (None, 13, 3)
    image, _ = built("conv2d", Shape(8, 8), nodes=None)
    layers = [layer for layer in image.encoder.layers if "conv2d" in layer.name]
    assert [(layer.filters, layer.kernel_size, layer.strides) for layer in layers] == [
        (filters, (3, 3), (2, 2)) for filters in (32, 64, 128)
    ]
    mirror = [layer.filters for layer in image.decoder.layers if "transpose" in layer.name]
    assert mirror == [128, 64, 32]


def test_tcn_looks_farther_in_every_layer() -> None:
    """A network of four layers would see five rows in place of sixty."""
    networks, _ = built("tcn", nodes=[4, 4, 4])
    apart = [layer.dilation_rate for layer in networks.encoder.layers if getattr(layer, "dilation_rate", None)]
    assert [rate for rate in apart if rate != (1,)] == [(2,), (4,)]


@pytest.mark.parametrize("noise", ["gaussian", "masking", "sensors"])
def test_denoising_corrupts_while_training_and_only_then(noise: str) -> None:
    """The network would learn to copy, or score what it corrupted itself."""
    networks, hyper = built("denoising", options={"noise": noise, "level": 0.5})
    corrupt = find("denoising").trainer(networks, SHAPE, hyper).get_layer("corrupt")
    scaled = windows()
    assert_array_equal(np.asarray(corrupt(scaled, training=False)), scaled)
    changed = np.asarray(corrupt(scaled, training=True))
    again = np.asarray(corrupt(scaled, training=True))
    assert not np.array_equal(changed, again)
    if noise == "gaussian":
        assert_allclose((changed - scaled).std(), 0.5, rtol=0.1)
        return
    silenced = (changed == 0) & (scaled != 0)
    assert_array_equal(changed[~silenced], scaled[~silenced])
    assert 0.4 < silenced.mean() < 0.6
    whole = silenced.all(axis=1) | ~silenced.any(axis=1)
    assert whole.all() == (noise == "sensors")


@pytest.mark.slow
def test_a_penalty_silences_units_and_is_reported() -> None:
    """`sparse` would be a wide `dense`, which copies its input."""
    found = {}
    for weight in (0.0, 1.0):
        shape, chosen = SHAPE, settings("sparse", code_size=32, epochs=2, options={"weight": weight})
        fitter = Fitter(find("sparse"), shape, chosen.resolve(shape))
        fitter.fit(*feeds(waves(), 32))
        found[weight] = find("sparse").figures(fitter.networks, feeds(waves(), 32)[1].inputs)["active_units"]
    assert 0 < found[1.0] < 0.6 * found[0.0] <= 1


@pytest.mark.slow
def test_kl_holds_mean_activations_near_its_target() -> None:
    """The other penalty of the settings would do nothing."""
    chosen = settings("sparse", code_size=32, epochs=3, options={"penalty": "kl", "weight": 1.0, "target": 0.1})
    fitter = Fitter(find("sparse"), SHAPE, chosen.resolve(SHAPE))
    fitter.fit(*feeds(waves(), 32))
    codes = np.asarray(fitter.networks.encoder(windows()))
    assert 0 <= codes.min() <= codes.max() <= 1
    assert_allclose(codes.mean(), 0.1, atol=0.05)


@pytest.mark.slow
def test_the_code_of_a_vae_is_a_distribution_near_its_prior() -> None:
    """Windows drawn from the prior would be like nothing that was ever recorded."""
    spread = {}
    for beta in (0.1, 100.0):
        chosen = settings("vae", epochs=2, code_size=2, options={"beta": beta})
        fitter = Fitter(find("vae"), SHAPE, chosen.resolve(SHAPE))
        fitter.fit(*feeds(waves(), 32))
        codes = np.asarray(fitter.networks.encoder(windows()))
        spread[beta] = codes.std()
    assert spread[0.1] < 1.5 < spread[100.0]
    drawn = np.asarray(fitter.networks.decoder(np.random.default_rng(0).standard_normal((50, 2)).astype(np.float32)))
    assert np.isfinite(drawn).all()


@pytest.mark.slow
def test_reconstruction_probability_is_what_the_paper_says() -> None:
    """The score would be called a probability without being one."""
    chosen = settings("vae", epochs=1, options={"score": "probability", "samples": 6})
    fitter = Fitter(find("vae"), SHAPE, chosen.resolve(SHAPE))
    fitter.fit(*feeds(waves(), 32))
    networks, scaled = fitter.networks, windows(20)
    core = export.core(find("vae"), networks, SHAPE, fitter.hyper)
    errors = np.asarray(core(scaled)[0])
    assert_array_equal(errors, np.asarray(core(scaled)[0]))
    moments = np.asarray(vae._moments(networks)(scaled))
    mean, deviation = moments[:, :4], np.exp(moments[:, 4:] / 2)
    variance = np.exp(networks.decoder.get_layer("spread").get_weights()[1]).reshape(12, 2)
    expected = np.zeros((20, 12, 2))
    for noise in vae.noise(6, 4):
        rebuilt = np.asarray(networks.decoder(mean + deviation * noise))
        density = np.exp(-((scaled - rebuilt) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
        expected -= np.log(density) / 6
    least = np.log(2 * np.pi * vae.FLOOR) / 2  # of the negative log likelihood, at the least variance
    assert_allclose(errors, expected - least, rtol=1e-4, atol=1e-4)
    assert (variance < 1).all()
    assert_allclose(vae.noise(6, 4).mean(axis=0), 0, atol=1e-7)


@pytest.mark.parametrize(("exact", "tolerance"), [(2048, 1e-9), (4, 1e-4)])
def test_pca_has_the_directions_of_greatest_variance(
    monkeypatch: pytest.MonkeyPatch, exact: int, tolerance: float
) -> None:
    """The baseline would be too easy to beat; both ways to find it, through the whole matrix and without it."""
    monkeypatch.setattr(pca, "_EXACT", exact)
    data = np.random.default_rng(1).normal(size=(500, 24)) * 0.7 ** np.arange(24)
    turned = data @ np.linalg.qr(np.random.default_rng(2).normal(size=(24, 24)))[0]

    def rows() -> Iterator[NDArray[np.float64]]:
        return (turned[at : at + 64] for at in range(0, 500, 64))

    found = pca.directions(rows, turned.mean(axis=0), 5)
    expected = np.linalg.svd(turned - turned.mean(axis=0), full_matrices=False)[2][:5].T
    assert_allclose(np.abs((found * expected).sum(axis=0)), 1, atol=tolerance)
    assert_allclose(found.T @ found, np.eye(5), atol=1e-9)
    assert (found[np.abs(found).argmax(axis=0), np.arange(5)] > 0).all()


def test_pca_of_fewer_windows_than_directions_is_finite() -> None:
    """A short recording would give directions that are noise of the arithmetic, other ones on every machine."""
    flat = np.outer(np.arange(10.0), np.ones(6))

    found = pca.directions(lambda: iter([flat]), flat.mean(axis=0), 3)
    assert_allclose(found[:, 0], np.full(6, 6**-0.5))
    assert_array_equal(found[:, 1:], 0)
