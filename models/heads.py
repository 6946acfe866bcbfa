"""--head: the network on the hidden states of an SSL front end. HEADS in models/__init__.py has a row for each."""

from models import HEADS, resolve_class


def build_head(num_classes, hidden_size=1024, head="aasist", layers=1):
    """AASIST, or another head, on hidden states of an SSL front end: the network that `head`, a name of HEADS, names.

    `layers` is how many hidden states the front end gives.
    """
    network = resolve_class(HEADS[head].network)
    options = {"layers": layers} if getattr(network, "weighs_layers", False) else {}
    return network(num_classes, hidden_size, **options)
