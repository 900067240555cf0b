"""TensorRT and CUDA as far as the engine calls them, on a CPU: a plan is its network, numbered.

Addresses are followed as a GPU would follow them, at the moment when a run or a graph is executed.
"""

# ruff: noqa: ARG002, ARG005

import ctypes
import json
import sys
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import torch as real

from inference import gpu, tensorrt_engine
from inference.gpu import Gpu

GPUS = tuple(
    Gpu(ordinal=ordinal, name=name, compute_capability=capability, driver="570.86.15")
    for ordinal, (name, capability) in enumerate([("NVIDIA T4", "7.5"), ("NVIDIA L4", "8.9")])
)
FLOAT = SimpleNamespace(name="FLOAT")


class Library:
    """The module ``tensorrt``, or ``tensorrt_rtx`` with its runtime's configuration."""

    __version__ = "11.4.0"
    NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=0)
    BuilderFlag = SimpleNamespace(TF32=7)
    CudaGraphStrategy = SimpleNamespace(WHOLE_GRAPH_CAPTURE="whole")
    DynamicShapesKernelSpecializationStrategy = SimpleNamespace(EAGER="eager")

    class ILogger:
        WARNING = 2

    def __init__(self, kind, cuda):
        self.__name__ = kind.replace("-", "_")
        self.cuda = cuda
        self.built_on = []
        self.refused = []
        """Plans that do not open."""
        self.configs = []
        self.contexts = 0

    def Builder(self, log):  # noqa: N802  the library's name
        return Builder(self)

    def OnnxParser(self, network, log):  # noqa: N802  the library's name
        return SimpleNamespace(parse=network.parse)

    def Runtime(self, log):  # noqa: N802  the library's name
        def opened(plan):
            if plan in self.refused:
                log.log(1, "the engine was made for another device")
                return None
            return Engine(self, plan)

        return SimpleNamespace(deserialize_cuda_engine=opened)


class Builder:
    def __init__(self, library):
        self.library = library
        self.profiles = []

    def create_network(self, flags):
        return Network()

    def create_builder_config(self):
        cache = SimpleNamespace(serialize=lambda: b"timings")
        return SimpleNamespace(
            clear_flag=lambda flag: None,
            add_optimization_profile=lambda profile: self.profiles.append(profile.sizes),
            create_timing_cache=lambda old: cache,
            set_timing_cache=lambda cache, ignore_mismatch: True,
        )

    def create_optimization_profile(self):
        profile = SimpleNamespace()

        def set_shape(name, *shapes):
            profile.sizes = [shape[0] for shape in shapes]

        profile.set_shape = set_shape
        return profile

    def build_serialized_network(self, network, config):
        """The network, the batches of its profile and the number of the build."""
        self.library.built_on.append(self.library.cuda.current)
        (sizes,) = self.profiles
        return network.told + b"#" + json.dumps([*sizes, len(self.library.built_on)]).encode()


class Network:
    def parse(self, told):
        graph = onnx.load_from_string(told).graph
        self.told = told
        self.inputs, self.outputs = (
            [
                SimpleNamespace(
                    name=end.name,
                    dtype=FLOAT,
                    shape=[size.dim_value or -1 for size in end.type.tensor_type.shape.dim],
                )
                for end in ends
            ]
            for ends in (graph.input, graph.output)
        )
        self.num_inputs, self.num_outputs = len(self.inputs), len(self.outputs)
        return True

    def get_input(self, number):
        return self.inputs[number]

    def get_output(self, number):
        return self.outputs[number]


class Engine:
    def __init__(self, library, plan):
        self.library = library
        network, _, told = plan.rpartition(b"#")
        *self.sizes, _number = json.loads(told)
        self.session = onnxruntime.InferenceSession(network)
        self.inputs = [end.name for end in self.session.get_inputs()]
        self.outputs = {end.name: end.shape[1:] for end in self.session.get_outputs()}
        self.names = [*self.inputs, *self.outputs]
        self.num_io_tensors = len(self.names)

    def get_tensor_name(self, number):
        return self.names[number]

    def get_tensor_profile_shape(self, name, profile):
        (side,) = {end.shape[-1] for end in self.session.get_inputs()}
        return [(size, 3, side, side) for size in self.sizes]

    def create_runtime_config(self):
        cache = SimpleNamespace(serialize=lambda: b"kernels", deserialize=lambda known: True)
        config = SimpleNamespace(
            create_runtime_cache=lambda: cache, set_runtime_cache=lambda cache: True
        )
        self.library.configs.append(config)
        return config

    def create_execution_context(self, *config):
        self.library.contexts += 1
        return Context(self, self.library.cuda)


class Context:
    def __init__(self, engine, cuda):
        self.engine = engine
        self.cuda = cuda
        self.shapes = {}
        self.addresses = {}

    def set_input_shape(self, name, shape):
        self.shapes[name] = shape
        return True

    def get_tensor_shape(self, name):
        (batch,) = {shape[0] for shape in self.shapes.values()}
        return (batch, *self.engine.outputs[name])

    def set_tensor_address(self, name, address):
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream):
        if self.cuda.broken:
            return False
        addresses = dict(self.addresses)
        if self.cuda.capturing is None:
            self._run(addresses)
        else:
            self.cuda.capturing.calls.append(lambda: self._run(addresses))
        return True

    def _run(self, addresses):
        given = {
            name: _at(addresses[name], self.shapes[name]).copy() for name in self.engine.inputs
        }
        told = self.engine.session.run(list(self.engine.outputs), given)
        for name, values in zip(self.engine.outputs, told, strict=True):
            _at(addresses[name], values.shape)[...] = values


def _at(address, shape):
    floats = (ctypes.c_float * int(np.prod(shape))).from_address(address)
    return np.frombuffer(floats, np.float32).reshape(shape)


class Cuda:
    """``torch.cuda`` of two GPUs."""

    def __init__(self):
        self.current = 0
        self.capturing = None
        self.broken = False
        self.replays = 0

    def is_available(self):
        return True

    @contextmanager
    def device(self, ordinal):
        before, self.current = self.current, ordinal
        try:
            yield
        finally:
            self.current = before

    def Stream(self, device):  # noqa: N802  torch's name
        return SimpleNamespace(cuda_stream=1, synchronize=lambda: None, device=device)

    def current_stream(self):
        return SimpleNamespace(synchronize=lambda: None)

    def stream(self, stream):
        return nullcontext()

    def CUDAGraph(self):  # noqa: N802  torch's name
        graph = SimpleNamespace(calls=[])

        def replay():
            self.replays += 1
            for call in graph.calls:
                call()

        graph.replay = replay
        return graph

    @contextmanager
    def graph(self, graph, **how):
        self.capturing = graph
        try:
            yield
        finally:
            self.capturing = None


def torch_of(cuda):
    """What the engine calls of torch, without a GPU."""
    return SimpleNamespace(
        cuda=cuda, from_numpy=real.from_numpy, zeros=lambda size, device="cpu": real.zeros(size)
    )


def play(monkeypatch):
    """Give the engine two GPUs and torch for them, and return what plays CUDA."""
    cuda = Cuda()
    monkeypatch.setattr(tensorrt_engine, "torch", torch_of(cuda))
    monkeypatch.setattr(real.Tensor, "pin_memory", lambda tensor: tensor)
    monkeypatch.setattr(gpu, "find", lambda *_: GPUS)
    monkeypatch.setattr(gpu, "current", cuda.device)
    return cuda


def play_library(monkeypatch, kind, cuda):
    """Install a library of that kind, and return it."""
    library = Library(kind, cuda)
    monkeypatch.setitem(sys.modules, library.__name__, library)
    return library
