"""No tensor is made on the CPU in a forward or backward pass: what a GPU would stumble over, caught without one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from registered_models import build, inputs, registered

# Functions that make a tensor where no argument says on which device.
FACTORIES = {
    getattr(torch, name)
    for name in ("arange", "empty", "eye", "full", "linspace", "logspace", "ones", "rand", "randint", "randn",
                 "randperm", "tensor", "zeros", "as_tensor", "from_numpy")
}  # fmt: skip
# What a family reads back from the device, and may: PPAD which lists are fitted together, once for some hundred steps.
WAITED_FOR = {"poisson_autodecoder": ["Tensor.tolist"]}


class Factories(TorchFunctionMode):
    """Notes each call of a factory that names no device."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function in FACTORIES and kwargs.get("device") is None and not any(torch.is_tensor(arg) for arg in args):
            self.calls.append(f"{function.__name__}{args}")
        if function in (torch.Tensor.numpy, torch.Tensor.cpu, torch.Tensor.tolist):
            self.calls.append(f"Tensor.{function.__name__}")
        return function(*args, **kwargs)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("model_type", registered())
def test_every_tensor_is_made_where_the_inputs_are(model_type: str, training: bool) -> None:
    model, batch = build(model_type).train(training), inputs(model_type)
    with Factories() as factories:
        loss = model(**batch).loss
        loss.backward()
    assert factories.calls == WAITED_FOR.get(model_type, [])


def test_a_tensor_made_on_the_cpu_is_noticed() -> None:
    with Factories() as factories:
        torch.zeros(3) + torch.arange(3, device="cpu")
    assert factories.calls == ["zeros(3,)"]
