"""Mistakes in a study file, each told in one line."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from ..errors import UnknownName
from .schema import StudySections


def complaint(error: ValidationError) -> str:
    """Return the first mistake in one line.

    It is `[section] key = value; allowed: ...`, or `[section] unknown key ...` with the nearest known one.
    """
    mistakes = error.errors()
    mistake = next((m for m in mistakes if m["type"] == "extra_forbidden"), mistakes[0])
    text = _one(mistake)
    others = len({m["loc"][:2] for m in mistakes} - {mistake["loc"][:2]})
    return f"{text} (and {others} more)" if others else text


def _one(mistake: Any) -> str:
    loc = [part for part in mistake["loc"] if not str(part).startswith("constrained-")]
    section, key = (str(loc[0]), str(loc[1])) if len(loc) > 1 else ("", str(loc[0]))
    where = f"[{section}] " if section else ""
    if mistake["type"] == "extra_forbidden":
        properties = _schema_of(section)["properties"]
        return f"{where}{UnknownName('key' if section else 'section', key, properties)}"
    if mistake["type"] == "value_error":
        return f"[{key}] {mistake['ctx']['error']}"
    schema = _schema_of(section)["properties"][key]
    value = mistake["input"]
    if len(loc) > 2 and isinstance(inner := schema.get("additionalProperties"), dict):
        return f"[{section}.{key}] {loc[2]} = {_short(value)}; allowed: {_in_words(inner)}"
    choices = _choices(schema)
    if mistake["type"] == "literal_error" and isinstance(value, str) and choices:
        return f"{where}{UnknownName(f'value of {key}', value, map(str, choices))}"
    if not section and "$ref" in str(schema):
        return f"[{key}] must be a section, got {value!r}: write its keys below a line [{key}]"
    return f"{where}{key} = {_short(value)}; allowed: {_in_words(schema)}"


def _schema_of(section: str) -> dict[str, Any]:
    # pydantic's own JSON schema already says every range, so that ranges are written down only once.
    if not section:
        return StudySections.model_json_schema()
    annotation: Any = StudySections.model_fields[section].annotation
    schema: dict[str, Any] = annotation.model_json_schema()
    return schema


def _choices(schema: dict[str, Any]) -> list[Any]:
    for part in (schema, schema.get("items", {}), *schema.get("anyOf", [])):
        if "enum" in part:
            return list(part["enum"])
        if part is not schema and "items" in part and "enum" in part["items"]:
            return list(part["items"]["enum"])
    return []


def _in_words(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_in_words(part) for part in schema["anyOf"] if part.get("type") != "null")
    if "const" in schema:
        return repr(schema["const"])
    if "enum" in schema:
        return ", ".join(map(repr, schema["enum"]))
    if schema.get("type") == "array":
        return f"a list of {_in_words(schema['items'])}{', not empty' if schema.get('minItems') else ''}"
    words = {"integer": "a whole number", "number": "a number", "string": "a text in quotes"}
    text = words.get(str(schema.get("type")), str(schema.get("type")))
    limits = {"exclusiveMinimum": "above", "minimum": "from", "exclusiveMaximum": "below", "maximum": "up to"}
    said = [f"{word} {_number(schema[limit])}" for limit, word in limits.items() if limit in schema]
    if "minLength" in schema:
        said.append("that is not empty")
    if "pattern" in schema:
        said.append(_patterned(schema))
    return " ".join([text, *said])


def _patterned(schema: dict[str, Any]) -> str:
    """Return in words what a text must look like."""
    if schema["pattern"].endswith("%$"):
        return 'such as "50%"'
    if "pt" in schema["pattern"]:
        return 'such as "1%", "1pt" or "0.01"'
    return f"of up to {schema['maxLength']} letters, digits, '.', '_' and '-', the first a letter or digit"


def _number(limit: float) -> str:
    return str(int(limit)) if limit == int(limit) else f"{limit:g}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
