"""A learning rate that falls where the loss stays: PyTorch's ReduceLROnPlateau with a state that is numbers."""

from __future__ import annotations

# ReduceLROnPlateau's default: a loss is an improvement where it is below the best by this share.
_THRESHOLD = 1e-4


class Plateau:
    """The learning rate of a run on a plateau schedule; `state` is kept in its checkpoints.

    The mean training loss of each epoch is compared with the best so far; after more than `patience` epochs in a row
    without an improvement the learning rate is multiplied by `factor`.

    Args:
        peak: learning rate at the start of each stage.
        factor, patience: as of `torch.optim.lr_scheduler.ReduceLROnPlateau`.
        state: of a checkpoint; changed in place.
    """

    def __init__(self, peak: float, factor: float, patience: int, state: dict[str, float]):
        self.peak, self.factor, self.patience, self.state = peak, factor, patience, state
        if not state:
            self.begin()

    def begin(self) -> None:
        """A stage begins: nothing is known of its losses."""
        self.state.clear()
        self.state.update(scale=1.0, epochs=0, bad_epochs=0, total=0.0, steps=0)

    @property
    def learning_rate(self) -> float:
        return self.peak * self.state["scale"]

    def end_step(self, loss: float, ends_epoch: bool) -> None:
        """
        Args:
            loss: of the step.
            ends_epoch: whether an epoch ends with it.
        """
        state = self.state
        state["total"], state["steps"] = state["total"] + loss, state["steps"] + 1
        if not ends_epoch:
            return
        mean = state["total"] / state["steps"]
        best = state.get("best")
        # As PyTorch has it, for losses of either sign.
        if best is None or mean < best * (1.0 - _THRESHOLD):
            state["best"], state["bad_epochs"] = mean, 0
        else:
            state["bad_epochs"] += 1
        if state["bad_epochs"] > self.patience:
            state["scale"], state["bad_epochs"] = state["scale"] * self.factor, 0
        state["epochs"], state["total"], state["steps"] = state["epochs"] + 1, 0.0, 0
