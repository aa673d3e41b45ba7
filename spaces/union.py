"""One space over several networks: the teacher, and students of the user's own that stand beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from .context import NamedNetwork, SpaceContext
from .group import LeftOut
from .network import Network
from .spec import StudentSpec
from .variables import Variable

WHOLE_INPUTS = "a student of the user's own: it looks at inputs of the full size, as sizes are decided for the teacher"
IN_FLOAT = "stays in 32 bits: the bits of recurrent layers are decided for the teacher alone"


def united(
    context: SpaceContext, students: Mapping[str, Network], embeddings: bool = False, recurrent: bool = False
) -> SpaceContext:
    """Return a context over the teacher and these students, of which each plan has one.

    Args:
        context: The teacher's.
        students: What was found in each student of the user's own, by its name. Their layers, groups and blocks have
            names of their own.
        embeddings: Whether the bits of their embeddings are decided too.
        recurrent: Whether the bits of the teacher's recurrent layers are.
    """
    if not students:
        return context
    if not embeddings:
        students = {name: replace(each, tables=(), no_tables=()) for name, each in students.items()}
    found: dict[str, SpaceContext | Network] = {"": context, **students}
    whole = tuple(LeftOut(name, WHOLE_INPUTS) for name in students)
    read = tuple(layer for each in students.values() for layer in each.recurrent)
    return replace(
        context,
        layers=tuple(layer for each in found.values() for layer in each.layers),
        groups=tuple(group for each in found.values() for group in each.groups),
        blocks=tuple(block for each in found.values() for block in each.blocks),
        modules=tuple(module for each in found.values() for module in each.modules),
        tables=tuple(table for each in found.values() for table in each.tables),
        no_tables=tuple(entry for each in found.values() for entry in each.no_tables),
        no_recurrent=(*context.no_recurrent, *(LeftOut(layer.name, IN_FLOAT) for layer in read if recurrent)),
        float_recurrent=(*context.float_recurrent, *read),
        no_sizes=(*context.no_sizes, *whole),
        networks=tuple(_named(name, each) for name, each in found.items()),
    )


def told_apart(context: SpaceContext, variables: Sequence[Variable]) -> tuple[Variable, ...]:
    """Return variables whose roles say which network of the user's own they are in: those of two are never alike."""
    if not context.networks:
        return tuple(variables)
    names = {variable.name: context.network_of(variable.layers) for variable in variables}
    return tuple(replace(v, role=f"{v.role} ({names[v.name]})") if names[v.name] else v for v in variables)


def of_one_network(context: SpaceContext, spec: StudentSpec) -> StudentSpec:
    """Return a specification without replacements in networks that the student is not cut from."""
    if not (context.networks and spec.replacements):
        return spec
    others = {name for net in context.networks if net.name != spec.student for name in net.modules}
    return replace(spec, replacements={name: kind for name, kind in spec.replacements.items() if name not in others})


def _named(name: str, found: SpaceContext | Network) -> NamedNetwork:
    other = found.float_recurrent if isinstance(found, SpaceContext) else ()
    layers = (*found.layers, *found.tables, *found.recurrent, *other)
    parts = (layers, found.groups, found.blocks, found.modules)
    return NamedNetwork(name, *(tuple(part.name for part in each) for each in parts))
