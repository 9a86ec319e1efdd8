"""A rewrite of PyTensor graphs: value and gradient of a trajectory come from one run."""

from typing import Any

from pytensor.compile.mode import optdb
from pytensor.graph.rewriting.basic import GraphRewriter
from pytensor.graph.traversal import apply_depends_on

from pymc_dynsys.bridge.likelihood_op import Y
from pymc_dynsys.bridge.ops import Pullback


class ReuseValueOfPullback(GraphRewriter):
    """Take a value from the Pullback that computes it anyway."""

    def apply(self, fgraph: Any) -> None:
        """Replace an Op's outputs by those of a Pullback of it with the same inputs."""
        for node in fgraph.toposort():
            if not isinstance(node.op, Pullback):
                continue
            n = len(node.op.op.cores())
            for client, _ in tuple(fgraph.clients[node.inputs[Y]]):
                if client.op == node.op.op and list(client.inputs) == list(node.inputs[:n]):
                    if apply_depends_on(node, client):
                        # A cotangent made from the value: the replacement would be a cycle.
                        continue
                    pairs = list(zip(client.outputs, node.outputs, strict=False))
                    fgraph.replace_all(pairs, reason="reuse_value_of_pullback")


optdb.register(
    "pymc_dynsys_reuse_value_of_pullback",
    ReuseValueOfPullback(),
    "fast_run",
    "fast_compile",
    position=49.5,
)
