"""Findings as SARIF 2.1.0, the format that GitHub's code scanning and editors read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from yolo_nanfix._version import __version__
from yolo_nanfix.files import json_text
from yolo_nanfix.findings import Finding, Report, RuleText, Severity
from yolo_nanfix.overrides import What
from yolo_nanfix.report.words import EFFECT_WORDS, finding_sentence, fingerprint, printable, relative, worst_first

MAX_RESULTS = 5000
"""GitHub shows 5 000 results of a run and refuses a run of more than 25 000."""
ROOT = "%SRCROOT%"
SARIF_LEVELS = {Severity.FATAL: "error", Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_GITHUB = {"error": "error", "warning": "warning", "note": "recommendation"}


def sarif_json(report: Report, rules: Iterable[RuleText]) -> str:
    """One run with all rules, and at most `MAX_RESULTS` findings, the worst first; a notification counts the rest.

    Notifications also say what settings change; rules that they switch off are disabled in the invocation. Paths are
    relative to the current folder (in CI the root of the checkout), of other files absolute URIs. Fingerprints hold no
    line numbers.
    """
    here = Path.cwd()
    documented = [_rule(rule) for rule in rules]
    index = {rule["id"]: i for i, rule in enumerate(documented)}
    shown = worst_first(report)[:MAX_RESULTS]
    run: dict[str, Any] = {
        "tool": {"driver": {"name": "yolo-nanfix", "semanticVersion": __version__, "rules": documented}},
        "originalUriBaseIds": {ROOT: {"uri": _uri(os.fspath(here)) + "/"}},
        "columnKind": "unicodeCodePoints",
        "invocations": [{"executionSuccessful": True, "exitCode": report.exit_code}],
        "results": [_result(finding, identity, index, here) for finding, identity in shown],
    }
    overrides = report.overrides
    notes = [{"level": "warning", "message": {"text": printable(line)}} for line in overrides.lines()]
    off = sorted({code for change in overrides.of(What.RULES_OFF) for code in change.names})
    if off:
        run["invocations"][0]["ruleConfigurationOverrides"] = [
            {"descriptor": {"id": code}, "configuration": {"enabled": False}} for code in off
        ]
    if overrides:
        run["properties"] = {"settings": overrides.as_dict()}
    if left := len(report.findings) - len(shown):
        said = (
            f"{left} of {len(report.findings)} findings, the mildest, are left out; --output-format json lists them all"
        )
        notes.append({"level": "warning", "message": {"text": said}})
    if notes:
        run["invocations"][0]["toolExecutionNotifications"] = notes
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    return json_text({"$schema": schema, "version": "2.1.0", "runs": [run]})


def _rule(rule: RuleText) -> dict[str, Any]:
    parts = (("Why", rule.why), ("Ultralytics", rule.upstream), ("Example", rule.example), ("Fix", rule.fix))
    level = SARIF_LEVELS[rule.severity]
    return {
        "id": rule.code,
        "name": rule.name,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": f"{rule.title} {rule.why}"},
        "help": {
            "text": "\n".join(f"{head}: {body}" for head, body in parts),
            "markdown": "\n\n".join(f"**{head}**: {body}" for head, body in parts),
        },
        "defaultConfiguration": {"level": level},
        "properties": {"tags": ["dataset", rule.code[:2]], "problem.severity": _GITHUB[level]},
    }


def _result(finding: Finding, identity: str, index: dict[str, int], here: Path) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": _artifact(finding.place.file, here)}
    if finding.place.line is not None:
        place["region"] = {"startLine": finding.place.line}
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "level": SARIF_LEVELS[finding.severity],
        "message": {"text": finding_sentence(finding)},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {"yoloNanfix/v1": fingerprint(identity)},
        "properties": {"severity": finding.severity.value, "ultralytics": EFFECT_WORDS[finding.effect]},
    }
    if finding.code in index:
        result["ruleIndex"] = index[finding.code]
    if finding.place.pixel is not None:
        result["properties"]["pixel"] = list(finding.place.pixel)
    if finding.split is not None:
        result["properties"]["split"] = finding.split
    if finding.because is not None:
        result["properties"]["because"] = finding.because
    if finding.image is not None and finding.image != finding.place.file:
        image = {"physicalLocation": {"artifactLocation": _artifact(finding.image, here)}}
        result["relatedLocations"] = [{**image, "message": {"text": "the image"}}]
    return result


def _artifact(file: str, here: Path) -> dict[str, str]:
    inside = relative(file, here)
    if inside != file.replace(os.sep, "/"):
        return {"uri": _quoted(inside), "uriBaseId": ROOT}
    return {"uri": _uri(os.path.abspath(file))}  # noqa: PTH100 - links stay links


def _uri(path: str) -> str:
    """A file URI of an absolute path, with any bytes."""
    return f"file:///{_quoted(path.replace(os.sep, '/').lstrip('/'))}"


def _quoted(path: str) -> str:
    """A path as part of a URI: its bytes on disk; lone surrogates, which no disk can hold, are passed through."""
    try:
        return quote(os.fsencode(path))
    except UnicodeEncodeError:
        return quote(path, errors="surrogatepass")
