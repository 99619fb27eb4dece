"""Variables: what workflows declare, and the templates and outputs of steps that name them."""

import re
from collections.abc import Iterator, Mapping

from kneo_serv.spec.finding import Finding, error, near
from kneo_serv.spec.models.spec import KneoSpec
from kneo_serv.spec.models.workflow import VariableSpec
from kneo_serv.spec.path import Path
from kneo_serv.spec.walk import StepAt, WorkflowAt, named_workflows, steps, workflows

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLACE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def check_variables(spec: KneoSpec) -> Iterator[Finding]:
    """Faults of declared variables and of every step that reads or writes them."""
    for workflow in named_workflows(spec):
        for name, variable in workflow.variables.items():
            yield from _declared((*workflow.path, "variables", name), name, variable)
    for workflow in workflows(spec):
        for step in steps(workflow.path, workflow.spec):
            yield from _input(workflow, step)
            yield from _output(workflow, step)


def _declared(path: Path, name: str, variable: VariableSpec) -> Iterator[Finding]:
    if not _NAME.fullmatch(name):
        message = f"`{name}` is no name for a variable: letters, digits and `_`, not beginning with a digit."
        yield error("E_VARIABLE_NAME", path, message, key=True)
    default, wanted = variable.default, _TYPES.get(variable.type)
    if default is None or wanted is None:
        return
    if not isinstance(default, wanted) or (isinstance(default, bool) and variable.type != "boolean"):
        message = f"The default of `{name}` is no {variable.type}."
        yield error("E_VARIABLE_DEFAULT", (*path, "default"), message, "Change `default` or `type`.", at=path)


def _input(workflow: WorkflowAt, step: StepAt) -> Iterator[Finding]:
    template = step.spec.input
    if template is None:
        return
    path = (*step.path, "input")
    if _PLACE.sub("", template).count("{{"):
        yield error("E_TEMPLATE_SYNTAX", path, "A `{{` is not closed by `}}`.", "Write it as `{{ text }}`.")
    for written in dict.fromkeys(_PLACE.findall(template)):
        yield from _name(workflow, path, written.strip())


def _name(workflow: WorkflowAt, path: Path, written: str) -> Iterator[Finding]:
    if written in ("text", "input"):
        return
    first, *parts = written.split(".")
    if first != "variables" or not parts or not all(parts):
        known = ["text", "input", *(f"variables.{name}" for name in workflow.variables)]
        message = f"A template cannot show `{written}`."
        yield error("E_TEMPLATE_NAME", path, message, near(written, known))
        return
    name, *inside = parts
    variable = workflow.variables.get(name)
    if variable is None:
        hint = near(name, workflow.variables, otherwise=f"Add `variables: {{{name}: ...}}` to the workflow.")
        yield error("E_TEMPLATE_NAME", path, f"The workflow has no variable `{name}`.", hint)
    elif inside and variable.type != "json":
        hint = f"Declare `{name}` with `type: json`."
        yield error("E_TEMPLATE_NAME", path, f"`{name}` is a {variable.type}, with nothing inside.", hint)


def _output(workflow: WorkflowAt, step: StepAt) -> Iterator[Finding]:
    name = step.spec.output
    if name is not None and name not in workflow.variables:
        hint = near(name, workflow.variables, otherwise=f"Add `variables: {{{name}: ...}}` to the workflow.")
        message = f"The workflow has no variable `{name}` to keep the output in."
        yield error("E_STEP_OUTPUT_VARIABLE", (*step.path, "output"), message, hint)
