"""Initial weights."""

from typing import Literal

from torch import nn

Scheme = Literal["torch", "keras"]


def initialise(net: nn.Module, scheme: Scheme) -> None:
    """Initialize linear and recurrent layers in place.

    "torch" keeps PyTorch's initialization. "keras" is Keras' default: Glorot uniform input weights, orthogonal
    recurrent weights (Saxe et al., 2014), zero biases, one for forget gates (Jozefowicz et al., 2015).
    """
    if scheme == "torch":
        return
    for module in net.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.RNNBase):
            for name, parameter in module.named_parameters():
                if name.startswith("weight_ih"):
                    nn.init.xavier_uniform_(parameter)
                elif name.startswith("weight_hh"):
                    nn.init.orthogonal_(parameter)
                else:
                    nn.init.zeros_(parameter)
                if name.startswith("bias_ih") and isinstance(module, nn.LSTM):
                    nn.init.ones_(parameter[module.hidden_size : 2 * module.hidden_size])  # order of gates: i, f, g, o
