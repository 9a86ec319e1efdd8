"""Effects of several kinds, added up: ``combine``."""

from typing import Any

import pymc as pm

from pymc_dynsys.effects.scales import Scale, require_scale
from pymc_dynsys.effects.terms import Layout, refuse_taken


def combine(
    name: str, terms: Any, *, dims: Any, within: Any = None, scale: Scale | None = None
) -> Any:
    r"""A parameter that is a sum of effects: a linear predictor, on a scale of its own.

    :math:`\theta_i = g^{-1}(\sum_j a_{j, c_j(i)})`, where :math:`c_j(i)` is the member of the
    :math:`j`-th term's dim to which :math:`i` belongs. Terms over different dims are crossed
    effects.

    Parameters
    ----------
    name : str
        Name of the ``pm.Deterministic`` that is added to the model.
    terms : variable, number, DataArray, or list of them
        What is added. A variable of the model or a DataArray has named dims; a term without dims
        is the same for all.
    dims : str or tuple of str
        Dims of the sum.
    within : DataArray, Series, list of them, or dict, optional
        Labels that say to which member of a term's own dim each member of `dims` belongs, under
        the name of that dim: a column of the table, ``panel["clinic_of_subject"]``, or
        ``{"clinic": labels}``. Series with an index of their own are matched by it. Who belongs
        where is fixed when the model is built; ``pm.set_data`` does not change it.
    scale : Log or Logit, optional
        The terms add up on this scale, and the result is brought back from it.

    Returns
    -------
    TensorVariable
        The deterministic, with the dims `dims`.

    Raises
    ------
    TypeError, ValueError
        For arrays without names of their axes, dims that `within` does not speak of, and labels
        that the model does not have; the message names the label.

    See Also
    --------
    varying : the same, and differences around it.

    Examples
    --------
    Crossed effects: marks of pupils by teacher and by school subject.

    >>> import pandas as pd, pymc as pm
    >>> from pymc_dynsys import effects
    >>> marks = pd.DataFrame({"teacher": ["ann", "bob", "ann"], "topic": ["art", "art", "maths"]})
    >>> coords = {"teacher": ["ann", "bob"], "topic": ["art", "maths"], "row": range(3)}
    >>> with pm.Model(coords=coords) as model:
    ...     teacher = effects.varying("teacher_effect", 0.0, 1.0, dims="teacher")
    ...     topic = effects.varying("topic_effect", 0.0, 2.0, dims="topic")
    ...     mark = effects.combine(
    ...         "mark",
    ...         [10.0, teacher, topic],
    ...         dims="row",
    ...         within=[marks["teacher"], marks["topic"]],
    ...     )
    >>> model.named_vars_to_dims["mark"]
    ('row',)
    """
    model = pm.modelcontext(None)
    if scale is not None:
        require_scale(name, "scale", scale)
    refuse_taken(name, [name], model)
    layout = Layout(name, dims, within, model)
    total = layout.fill(layout.total("terms", terms))
    layout.require_used()
    return pm.Deterministic(name, scale.inverse(total) if scale else total, dims=layout.dims)
