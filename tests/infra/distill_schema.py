"""Google's provider schema out of PyPI wheels, for the resources that ``infra/`` has.

    pip download --no-deps cdktn-provider-google==21.1.0 cdktn-provider-google-beta==21.1.0
    python tests/infra/distill_schema.py *.whl

writes ``provider/schema/google.json`` and ``google-beta.json``, a resource a line. The wheels
(MPL-2.0) hold bindings that are generated from the provider's own schema; of each attribute they
say whether it is computed, optional or required, its type, and how blocks are nested. What values
Google takes is not in them.
"""

from __future__ import annotations

import io
import json
import re
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
INFRA = HERE.parents[1] / "infra"
# Not in infra/, and never to be: so that a test can plan them and see that they are found.
FORBIDDEN = ("google_service_account_key", "google_project_iam_binding")

_ATTRIBUTE = re.compile(
    r"^    // (\w+) - computed: (true|false), optional: (true|false), required: (true|false)", re.M
)
_CLASS = re.compile(r"^class (\w+) extends cdktn\.(\w+) \{\n(.*?)^\}", re.M | re.S)
_HCL_FUNCTION = re.compile(r"^function (\w+)ToHclTerraform\(struct\) \{\n(.*?)^\}", re.M | re.S)
_HCL = re.compile(
    r"^            (\w+): \{\n.*?isBlock: (true|false),\n\s+type: \"(\w+)\","
    r"\n\s+storageClassType: \"(\w+)\"",
    re.M | re.S,
)
_NESTED = re.compile(r"new (\w+)\(this, [\"'](\w+)[\"'](?:, (true|false))?\)")
_RESOURCE = re.compile(r'^(resource|data) "(google_\w+)"', re.M)
_TOP = ("TerraformResource", "TerraformDataSource", "TerraformProvider")
_SCALARS = {"String": "string", "Number": "number", "Boolean": "bool"}
_OF_PROVIDER: dict[str, Any] = {
    "string": "string",
    "boolean": "bool",
    "number": "number",
    "stringList": ["list", "string"],
    "stringMap": ["map", "string"],
}


class _Module:
    """One generated module: its classes, and which attributes are written as blocks."""

    def __init__(self, text: str) -> None:
        text = text.split("//# sourceMappingURL", maxsplit=1)[0]
        self.classes = {m[1]: (m[2], m[3]) for m in _CLASS.finditer(text)}
        self.top = next(name for name, (base, _) in self.classes.items() if base in _TOP)
        self._blocks = {
            m[1].lower(): {name: is_block == "true" for name, is_block, *_ in _HCL.findall(m[2])}
            for m in _HCL_FUNCTION.finditer(text)
        }

    def block(self, name: str) -> dict[str, Any]:
        base, body = self.classes[name]
        hcl = _HCL.findall(body)
        is_block = (
            {attribute: flag == "true" for attribute, flag, *_ in hcl}
            if base in _TOP
            else self._blocks.get(name.removesuffix("OutputReference").lower(), {})
        )
        kinds = {attribute: kind for attribute, _, _, kind in hcl}
        found: dict[str, Any] = {"attributes": {}, "blocks": {}}
        for attribute, (computed, optional, required), text in _attributes(body):
            nested = _NESTED.search(text)
            if nested is not None and nested[1] in self.classes:
                child, listed = self._child(nested[1])
                kind = "set" if nested[3] == "true" else "list"
                if is_block.get(attribute, optional or required):
                    single = attribute == "timeouts"
                    found["blocks"][attribute] = child | {
                        "nesting": "single" if single else kind,
                        "min": int(required and not single),
                        "max": int(not listed and not single),
                    }
                    continue
                members = {key: value["type"] for key, value in child["attributes"].items()}
                found_type: Any = [kind, ["object", members]]
            else:
                found_type = _type(text)
                if found_type is None and base == "TerraformProvider":
                    found_type = _OF_PROVIDER.get(kinds.get(attribute, ""))
                    if found_type is None:
                        continue
            found["attributes"][attribute] = {
                "type": found_type,
                "computed": computed,
                "optional": optional,
                "required": required,
            }
        return found

    def _child(self, name: str) -> tuple[dict[str, Any], bool]:
        if name.endswith("OutputReference"):
            return self.block(name), False
        return self.block(name.removesuffix("List").removesuffix("Map") + "OutputReference"), True


def _attributes(body: str) -> Iterator[tuple[str, tuple[bool, bool, bool], str]]:
    marks = list(_ATTRIBUTE.finditer(body))
    ends = [mark.start() for mark in marks[1:]] + [len(body)]
    for mark, end in zip(marks, ends, strict=False):
        text = body[mark.end() : end].split("// =====", maxsplit=1)[0]
        yield mark[1], (mark[2] == "true", mark[3] == "true", mark[4] == "true"), text


def _type(text: str) -> Any:
    found = re.search(r"new cdktn\.(\w+?)(Map|MapList|List)\(this", text)
    if found:
        kind = _SCALARS.get(found[1], "dynamic")
        return ["map", kind] if found[2] == "Map" else ["list", ["map", kind]]
    collection = "set" if "Fn.tolist(" in text else "list"
    if re.search(r"getNumberListAttribute|asNumberList", text):
        return [collection, "number"]
    if "getListAttribute" in text:
        return [collection, "string"]
    found = re.search(r"get(String|Number|Boolean|Any)MapAttribute", text)
    if found:
        return ["map", _SCALARS.get(found[1], "dynamic")]
    found = re.search(r"get(String|Number|Boolean)Attribute", text)
    if found:
        return _SCALARS[found[1]]
    return "dynamic" if "hclTerraform" in text or "interpolationForAttribute" in text else None


def wanted() -> set[tuple[str, str]]:
    """Kind (``resource``, ``data``) and type of all that ``infra/`` has, and what it must not."""
    texts = [path.read_text() for path in INFRA.glob("*.tf")]
    found = {(m[1], m[2]) for text in texts for m in _RESOURCE.finditer(text)}
    return found | {("resource", name) for name in FORBIDDEN}


def distil(wheel: Path) -> tuple[str, str, dict[str, Any]]:
    """Name, version and schema of the provider that a wheel binds."""
    with zipfile.ZipFile(wheel) as archive:
        package = next(name for name in archive.namelist() if name.endswith(".tgz"))
        packed = io.BytesIO(archive.read(package))
    left = {
        ("data-" if kind == "data" else "") + name.removeprefix("google_").replace("_", "-")
        for kind, name in wanted()
    }
    schema: dict[str, Any] = {"provider": None, "resources": {}, "data": {}}
    version = ""
    with tarfile.open(fileobj=packed) as members:
        for member in members:
            parts = member.name.split("/")
            if member.name == "package/package.json":
                version = json.load(_opened(members, member))["cdktn"]["provider"]["version"]
            if len(parts) != 4 or parts[1] != "lib" or parts[3] != "index.js":
                continue
            name = re.sub(r"^(data-)?google-(beta-)?", lambda m: m[1] or "", parts[2])
            if name not in left | {"provider"}:
                continue
            module = _Module(_opened(members, member).read().decode())
            block = module.block(module.top)
            if name == "provider":
                schema["provider"] = block
            else:
                kind = "data" if name.startswith("data-") else "resources"
                title = name.removeprefix("data-").replace("-", "_")
                schema[kind][f"google_{title}"] = block
    return "google-beta" if "beta" in wheel.name else "google", version, schema


def _opened(members: tarfile.TarFile, member: tarfile.TarInfo) -> Any:
    return members.extractfile(member)


def _text(version: str, schema: dict[str, Any]) -> str:
    def lines(blocks: dict[str, Any]) -> str:
        rows = [f"{json.dumps(name)}: {json.dumps(blocks[name])}" for name in sorted(blocks)]
        return "{\n" + ",\n".join(rows) + "\n}"

    return (
        f'{{"version": {json.dumps(version)},\n"provider": {json.dumps(schema["provider"])},\n'
        f'"resources": {lines(schema["resources"])},\n"data": {lines(schema["data"])}}}\n'
    )


def main() -> None:
    """Distil the wheels that the command line names."""
    for wheel in map(Path, sys.argv[1:]):
        name, version, schema = distil(wheel)
        if name == "google-beta":
            # All else is in the other, and the same.
            beta = {"google_dataflow_flex_template_job", "google_project_service_identity"}
            schema["resources"] = {k: v for k, v in schema["resources"].items() if k in beta}
            schema["data"] = {}
        path = HERE / "provider" / "schema" / f"{name}.json"
        path.write_text(_text(version, schema))
        print(
            f"{path}: {version}, {len(schema['resources'])} resources, {len(schema['data'])} data"
        )


if __name__ == "__main__":
    main()
