"""A trained model as an ONNX file: waveform in, probabilities, embedding and logits out.

torch.onnx traces the model through torch.export and translates what it finds. Two operators that it does not know are
translated here. Parts that are made to be fast in torch, by spectra that they keep or by layouts of memory, give way to
the plain layers with the same numbers.
"""

import json
import logging
import os
import warnings

import numpy as np
import torch
from torch import nn

from config_taxonomy import TaxonomyConfig
from data.audio import SAMPLE_RATE, SAMPLES
from models import TAXONOMY_MODELS
from models.taxonomy_building import load_taxonomy_model
from models.wave_front_end import Extractor, PositionCode
from models.weights import read_run
from prediction.tracer import read_calibrated_model
from utils.errors import InputError
from utils.files import replacing
from utils.hub import name_of_model

OUTPUTS = ("probabilities", "embedding", "logits")
OPSET = 20  # the first with the discrete Fourier transform in its present form
LARGEST = 2**31 - 1  # bytes of a file of ONNX, a limit of its format
TOLERANCE = 1e-4  # between torch and onnxruntime: of probabilities, and relative to the largest value of an output
METADATA_FORMAT = 1
FIXED_BATCH = ("SASTNet",)  # models whose file torch.onnx makes for the batch of the example only
SHORTER = "repeat from the start"  # what is done with a clip that is shorter than the input


class PlainExtractor(nn.Module):
    """The convolutions of an Extractor as transformers runs them: wave [batch, samples] -> [batch, d, frames]."""

    def __init__(self, extractor):
        super().__init__()
        self.conv_layers = extractor.conv_layers

    def forward(self, wave):
        x = wave[:, None]
        for layer in self.conv_layers:
            x = layer(x)
        return x


class PlainPositionCode(nn.Module):
    """The convolution of a PositionCode in the domain of time: [batch, frames, d] -> the same shape."""

    def __init__(self, code):
        super().__init__()
        self.conv = code.conv
        self.activation = code.activation

    def forward(self, hidden):
        code = self.conv(hidden.transpose(1, 2))[..., : hidden.shape[1]]
        return self.activation(code).transpose(1, 2)


PLAIN_FORMS = {Extractor: PlainExtractor, PositionCode: PlainPositionCode}


def use_plain_forms(model):
    """`model`, in which each part that PLAIN_FORMS names is replaced by its plain form."""
    for part in list(model.modules()):
        for name, child in list(part.named_children()):
            if type(child) in PLAIN_FORMS:
                setattr(part, name, PLAIN_FORMS[type(child)](child))
    return model


class ExportedModel(nn.Module):
    """What the file computes: wave [batch, SAMPLES] -> probabilities and logits [batch, classes], embedding [batch, d].

    `names` are those of the outputs.
    """

    names = OUTPUTS
    samples = SAMPLES

    def __init__(self, model, temperature):
        super().__init__()
        self.model = use_plain_forms(model)
        self.temperature = temperature

    def forward(self, wave):
        embedding, logits = self.model(wave)
        return (logits / self.temperature).softmax(dim=1), embedding, logits


class ExportedTaxonomyModel(nn.Module):
    """What the file of a taxonomy model computes from `wave` [batch, samples]; `names` are those of its outputs.

    An embedding [batch, d], then the probabilities and logits [batch, classes] of each task.
    """

    def __init__(self, model):
        super().__init__()
        self.model = use_plain_forms(model)
        self.samples = model.samples
        kinds = ("probabilities", "logits")
        self.names = ("embedding", *(f"{kind}_{task}" for task in model.classes for kind in kinds))

    def forward(self, wave):
        embedding, logits = self.model(wave)
        rows = (logits[task] for task in self.model.classes)
        return embedding, *(output for row in rows for output in (row.softmax(dim=1), row))


def translations():
    """{operator of torch: the function that gives its ONNX operators}, for those that torch.onnx does not know."""
    from onnx import numpy_helper
    from onnxscript import opset18 as op

    def periodic_window(size, dtype=None, layout=None, device=None, pin_memory=None):
        return window(size, True)

    def window(size, periodic, dtype=None, layout=None, device=None, pin_memory=None):
        return op.Constant(value=numpy_helper.from_array(torch.hann_window(size, periodic=periodic).numpy()))

    def sort(x, stable=None, dim: int = -1, descending: bool = False):
        # TopK of all: among equal values, the earlier one comes first, as in a stable sort.
        count = op.Gather(op.Shape(x), op.Constant(value_ints=[dim]))
        return op.TopK(x, count, axis=dim, largest=int(descending), sorted=1)

    aten = torch.ops.aten
    return {
        aten.hann_window.default: periodic_window,
        aten.hann_window.periodic: window,
        aten.sort.stable: sort,
    }


def describe_export(calibration, run, name):
    """The metadata of the file, {key: text}: all that a program needs to prepare a wave and to read the outputs."""
    config = run.get("config", {})
    described = {
        "format": METADATA_FORMAT,
        "name": name,
        "model": config.get("model"),
        "class_names": calibration.class_names,
        "sample_rate": SAMPLE_RATE,
        "samples": SAMPLES,
        "shorter": SHORTER,
        "temperature": calibration.temperature,
        "limits": calibration.limits,
        "detectors": {name: row["threshold"] for name, row in calibration.description["detectors"].items()},
        "tpr": calibration.tpr,
        "checkpoint_sha256": calibration.description["checkpoint_sha256"],
    }
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in described.items()}


def describe_taxonomy_export(model, name, kind):
    """As describe_export(), of `model`, an ExportedTaxonomyModel; the folder `name` had a model of `kind`."""
    described = {"tasks": model.model.classes, "sample_rate": SAMPLE_RATE, "samples": model.samples}
    rest = {key: json.dumps(value) for key, value in {"format": METADATA_FORMAT, **described}.items()}
    return {"name": name, "model": kind, "shorter": SHORTER, **rest}


def exported(folder, ssl_path):
    """(the model in `folder` as it is exported, its metadata {key: text}); `ssl_path` is the value of --SSL_path.

    Raises InputError when it cannot be read, for one of the first system that is not calibrated, and for FIXED_BATCH.
    """
    run = read_run(folder)
    kind = run.get("config", {}).get("model")
    name = name_of_model(folder)
    if kind in FIXED_BATCH:
        raise InputError(
            f"{folder} holds a {kind}, which cannot be exported: its file would take one size of batch only"
        )
    if kind in TAXONOMY_MODELS:
        model = ExportedTaxonomyModel(load_taxonomy_model(folder, TaxonomyConfig(SSL_path=ssl_path)))
        return model.eval(), describe_taxonomy_export(model, name, kind)
    calibration, model = read_calibrated_model(folder, ssl_path)
    return ExportedModel(model, calibration.temperature).eval(), describe_export(calibration, run, name)


def rename_inner_values(graph, names):
    """Give the values inside `graph`, of onnx_ir, other names than `names` of outputs: a layer may have the same."""
    outputs = {id(value) for value in graph.outputs}
    for node in graph:
        for value in node.outputs:
            if value.name in names and id(value) not in outputs:
                value.name = f"inner_{value.name}"


def check_export_installed():
    """Raise InputError when the libraries of requirements-export.txt are not installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(f"{error.name} is not installed: pip install -r requirements-export.txt") from None


def export_model(model, metadata, path):
    """Write `model`, an exported one, float32 in eval mode on the CPU, to `path`, with the `metadata` {key: text}.

    Gives clip_differences(). Raises InputError when torch.onnx cannot translate it, when the file would be larger than
    ONNX allows, and when onnxruntime does not give what torch gives; then nothing is written.
    """
    weights = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    if weights > LARGEST:
        raise InputError(f"the model has {weights / 1e9:.1f} GB, more than the 2 GB that a file of ONNX may have")
    example = example_waves(3, model.samples)
    batch = torch.export.Dim("batch", min=1, max=4096)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program = torch.onnx.export(
                model,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                dynamic_shapes={"wave": {0: batch}},
                input_names=["wave"],
                output_names=list(model.names),
                custom_translation_table=translations(),
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            if "MemoryError" in str(error):
                raise MemoryError from None
            reason = " ".join(str(error).split())[-300:]
            raise InputError(f"torch.onnx cannot translate this model: {reason}") from None
    program.model.metadata_props.update(metadata)
    rename_inner_values(program.model.graph, model.names)
    with replacing(path) as temporary:
        program.save(temporary)
        try:
            differences = clip_differences(model, temporary)
        except Exception as error:  # of onnxruntime, which has a kind for each status: a batch of one size, a bad graph
            raise InputError(
                f"onnxruntime cannot run this model, so {path} is not written: {' '.join(str(error).split())}"
            ) from None
        if np.median(differences) > TOLERANCE:
            raise InputError(
                f"onnxruntime differs from torch by {np.median(differences):.1g}, more than {TOLERANCE:g}, so {path} is"
                " not written"
            )
    return differences


def example_waves(count, samples=SAMPLES):
    """Coloured noise, float32 [count, samples], the same each time."""
    noise = torch.randn(count, samples, generator=torch.Generator().manual_seed(688))
    return 0.05 * (noise + noise.roll(1, dims=1) + noise.roll(2, dims=1))


def open_session(path, threads=0):
    """onnxruntime's session of the file, on the CPU; it uses `threads`, all cores where it is 0."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])


@torch.no_grad()
def clip_differences(model, path):
    """The largest difference between torch and onnxruntime in each of five clips, in batches of 1 and 4: [5].

    Where an output has values above 1, it is relative to the largest. AASIST's graphs put their nodes in order; where
    two nodes are almost equal, rounding decides, and a single clip may differ by more.
    """
    session = open_session(path)
    found = []
    for wave in example_waves(5, model.samples).split((1, 4)):
        differences = []
        for ours, theirs in zip(model(wave), session.run(model.names, {"wave": wave.numpy()}), strict=True):
            scale = max(1.0, float(ours.abs().max()))
            differences.append(np.abs(ours.numpy() - theirs).max(axis=1) / scale)
        found.append(np.max(differences, axis=0))
    return np.concatenate(found)
