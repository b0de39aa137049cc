"""An ONNX network with one image as input, run by ONNX Runtime or OpenVINO."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from scmpr_ros.errors import CheckpointError, ConfigError

Runtime = Literal["onnxruntime", "openvino"]
_EXTRAS = {"onnxruntime": "readers", "openvino": "openvino"}


class OnnxModel:
    """One model.

    fixed_size: height and width of the input, None where the model leaves them open.
    """

    def __init__(
        self, path: Path, runtime: Runtime, output_name: str, on_gpu: bool, channels: int = 3
    ) -> None:
        """Load the file. output_name: the output to return; empty: the first.

        Raises ConfigError if the runtime is not installed or there is no such output, and
        CheckpointError if the file is not a model of one image (1, channels, h, w).
        """
        if importlib.util.find_spec(runtime) is None:
            raise ConfigError(
                f"{path} is to be run by {runtime}, which is not installed: "
                f'pip install "scmpr_ros[{_EXTRAS[runtime]}]"'
            )
        self.path, self._channels = path, channels
        try:
            if runtime == "onnxruntime":
                self._session: _Session = _OnnxRuntime(path, on_gpu)
            else:
                self._session = _OpenVino(path)
        except Exception as error:  # both raise many kinds, all for files that they cannot read
            raise CheckpointError(f"{path}: {runtime} cannot load it: {_line(error)}") from error
        self.fixed_size = self._check_input()
        self._output = self._check_output(output_name)

    def _check_input(self) -> tuple[int | None, int | None]:
        inputs = self._session.inputs
        shape = next(iter(inputs.values())) if len(inputs) == 1 else ()
        if len(shape) != 4 or shape[0] not in (None, 1) or shape[1] not in (None, self._channels):
            found = "; ".join(f"{name} {_shown(s)}" for name, s in inputs.items())
            wanted = f"(1, {self._channels}, h, w)"
            raise CheckpointError(f"{self.path}: needs one input {wanted}, has {found}")
        return shape[2], shape[3]

    def _check_output(self, name: str) -> str:
        outputs = self._session.outputs
        if name and name not in outputs:
            raise ConfigError(
                f"{self.path}: has no output {name!r}; output_name is one of {', '.join(outputs)}"
            )
        return name or outputs[0]

    def __call__(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """The output of an input (1, channels, h, w).

        Raises CheckpointError if the model cannot read that size, or answers NaN.
        """
        try:
            answer = self._session.run(self._output, pixels)
        except Exception as error:
            raise CheckpointError(
                f"{self.path}: cannot read an image of {_shown(pixels.shape)}; give the size that "
                f"it was exported for ({_line(error)})"
            ) from error
        if np.isnan(answer).any():
            raise CheckpointError(
                f"{self.path}: its output {self._output!r} holds NaN; check mean and std, "
                "and export it in float32"
            )
        return np.ascontiguousarray(answer, np.float32)


class _Session(Protocol):
    """A runtime with a model in it; open sizes are None."""

    inputs: dict[str, tuple[int | None, ...]]
    outputs: list[str]

    def run(self, output: str, pixels: NDArray[np.float32]) -> NDArray[Any]: ...


class _OnnxRuntime:
    def __init__(self, path: Path, on_gpu: bool) -> None:
        import onnxruntime

        wanted = ["CUDAExecutionProvider"] * on_gpu + ["CPUExecutionProvider"]
        providers = [p for p in wanted if p in onnxruntime.get_available_providers()]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # what goes wrong is raised
        self._session = onnxruntime.InferenceSession(path, options, providers=providers)
        inputs = self._session.get_inputs()
        self.inputs = {x.name: tuple(map(_fixed, x.shape)) for x in inputs}
        self.outputs = [x.name for x in self._session.get_outputs()]
        self._dtype = _DTYPES[inputs[0].type] if inputs else np.dtype(np.float32)

    def run(self, output: str, pixels: NDArray[np.float32]) -> NDArray[Any]:
        (name,) = self.inputs
        fed = {name: pixels.astype(self._dtype)}
        answer: NDArray[Any] = self._session.run([output], fed)[0]
        return answer


class _OpenVino:
    def __init__(self, path: Path) -> None:
        import openvino

        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "INFERENCE_PRECISION_HINT": "f32",
        }
        self._model = openvino.Core().compile_model(path, "CPU", settings)
        self.inputs = {
            x.any_name: tuple(None if n.is_dynamic else n.get_length() for n in x.partial_shape)
            for x in self._model.inputs
        }
        self.outputs = [x.any_name for x in self._model.outputs]

    def run(self, output: str, pixels: NDArray[np.float32]) -> NDArray[Any]:
        (port,) = self._model.inputs
        dtype: Any = port.get_element_type().to_dtype()
        found = self._model(pixels.astype(dtype))
        answer: NDArray[Any] = found[output].copy()
        return answer


_DTYPES: dict[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(uint8)": np.dtype(np.uint8),
}


def _fixed(size: int | str | None) -> int | None:
    return size if isinstance(size, int) else None


def _shown(shape: tuple[int | None, ...]) -> str:
    return "x".join("?" if n is None else str(n) for n in shape)


def _line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
