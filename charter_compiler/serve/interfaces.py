"""The tensor interfaces that the embedded server offers: those of TensorRT-LLM's ``engine`` profile."""

from charter_compiler.config.triton_interfaces import Interface, Step, Tensor
from charter_compiler.config.triton_interfaces import engine_interfaces as interfaces

__all__ = ["Interface", "Step", "Tensor", "interfaces"]
