"""The runnable agent below ``DIR/agent``: its sources, rewritten where that was chosen, its own plan, a manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from charter_compiler.diagnostics.errors import SourceError, UsageError
from charter_compiler.executor.entry import split_entry
from charter_compiler.executor.results import write_json
from charter_compiler.ir.nodes import Call
from charter_compiler.passes.dead_calls import DeadCalls
from charter_compiler.passes.independent_calls import IndependentCalls
from charter_compiler.passes.layout import Layout
from charter_compiler.passes.pass_base import PassNote
from charter_compiler.passes.site_layout import SiteLayout
from charter_compiler.passes.source_calls import ask_at_once, drop_dead, renumbered
from charter_compiler.passes.source_layout import SourceRewrite, rewrite_source
from charter_compiler.plan.execution_plan import ExecutionPlan
from charter_compiler.predict.planning import analyse, calls_of_entry, plan_entry
from charter_compiler.tokens.tokenizer import Tokenizer

MANIFEST = "manifest.json"
PLAN = "plan.json"


def rewrite_sources(layout: Layout, sources: Sequence[Path], notes: list[str]) -> tuple[SourceRewrite, ...]:
    """The files in which a layout changes something, rewritten; ``notes`` gets what could not be, and why.

    A file is read as UTF-8. Without LibCST nothing is rewritten, and a note says so.
    """
    found: list[SourceRewrite] = []
    for path in sources:
        sites = [site for site in layout.changed if Path(site.call.span.file).resolve() == path.resolve()]
        if not sites:
            continue
        try:
            rewrite = rewrite_source(path.read_bytes().decode("utf-8"), sites[0].call.span.file, sites)
        except (UsageError, SourceError) as error:
            notes.append(f"the sources are not rewritten: {error}")
            return ()
        except (UnicodeDecodeError, OSError) as error:
            notes.append(f"{path} is not rewritten: {error}")
            continue
        notes += [f"{_place(sites, name)} is laid out at run time only: {why}" for name, why in rewrite.left.items()]
        notes += [f"the rewritten source changes {name} too, which uses the same literal" for name in rewrite.others]
        found.append(rewrite)
    return tuple(found)


@dataclass(frozen=True, slots=True)
class CallOptions:
    """``parallel``: calls that do not need each other are asked at once; ``drop_dead``: calls whose answers nobody
    reads are taken out."""

    parallel: bool = False
    drop_dead: bool = False


def rewrite_calls(
    options: CallOptions,
    calls: Sequence[Call],
    rewrites: Sequence[SourceRewrite],
    sources: Sequence[Path],
    notes: list[str],
) -> tuple[tuple[SourceRewrite, ...], dict[str, tuple[PassNote, ...]]]:
    """The sources with their calls rewritten, on top of ``rewrites``; and what each pass did and left, by its name.

    A file is read as UTF-8. Without LibCST nothing is rewritten, and ``notes`` says so.
    """
    passes = [
        (DeadCalls().name, drop_dead, options.drop_dead),
        (IndependentCalls().name, ask_at_once, options.parallel),
    ]
    labels = {Path(call.span.file).resolve(): call.span.file for call in calls}
    found = {Path(rewrite.file).resolve(): rewrite for rewrite in rewrites}
    said: dict[str, tuple[PassNote, ...]] = {}
    for path in sources:
        label = labels.get(path.resolve())
        if label is None:
            continue
        try:
            text = path.read_bytes().decode("utf-8")
            rewrite = found.get(path.resolve()) or SourceRewrite(label, text, text)
            for name, run, chosen in passes:
                if chosen:
                    result = run(rewrite.after, label)
                    rewrite = replace(rewrite, after=result.text, gone=(*rewrite.gone, *result.gone))
                    said[name] = (*said.get(name, ()), *result.notes)
        except UsageError as error:
            notes.append(f"the sources are not rewritten: {error}")
            return tuple(rewrites), {}
        except (SourceError, UnicodeDecodeError, OSError) as error:
            notes.append(f"{path} is not rewritten: {error}")
            continue
        if rewrite.after != rewrite.before:
            found[path.resolve()] = rewrite
    return tuple(found.values()), said


def _place(sites: Sequence[SiteLayout], name: str) -> str:
    return next(f"{site.call.span.file}:{site.call.span.line}" for site in sites if site.call.id == name)


def write_agent(
    plan: ExecutionPlan, root: Path, rewrites: Sequence[SourceRewrite], tokenizer: Tokenizer, folder: Path
) -> tuple[Path, ...]:
    """Write the agent of a plan; the paths written. A file that no rewrite changes is copied byte for byte.

    ``plan.json`` there is the plan of the agent as it is written there: layouts that are in its source are not in it.

    Raises:
        OSError: something cannot be written.
        SourceError, EntryError: the agent as written does not parse: a defect of Charter.
    """
    texts = {Path(each.file).resolve(): each.after for each in rewrites if each.after != each.before}
    files: list[dict[str, Any]] = []
    written: list[Path] = []
    for source in plan.sources:
        path = Path(source.path).resolve()
        copy = folder / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        data = texts[path].encode("utf-8") if path in texts else path.read_bytes()
        copy.write_bytes(data)
        written.append(copy)
        files.append(
            {
                "path": copy.relative_to(folder).as_posix(),
                "source": source.path,
                "source_sha256": source.sha256,
                "sha256": hashlib.sha256(data).hexdigest(),
                "rewritten": path in texts,
            }
        )
    own = _own_plan(plan, root, rewrites, tokenizer, folder)
    (folder / PLAN).write_text(own.to_json(), encoding="utf-8")
    in_source = [name for rewrite in rewrites for name in rewrite.applied]
    write_json(
        folder / MANIFEST,
        {
            "version": 1,
            "entry": f"{(folder / _entry_copy(plan, root)).as_posix()}:{split_entry(plan.entry)[1]}",
            "compiled_from": plan.entry,
            "files": files,
            "layout": {"in_source": in_source, "at_run_time": [layout.call for layout in own.layouts]},
            "calls_taken_out": [name for rewrite in rewrites for name in rewrite.gone],
        },
    )
    return (*written, folder / PLAN, folder / MANIFEST)


def _entry_copy(plan: ExecutionPlan, root: Path) -> Path:
    return split_entry(plan.entry)[0].resolve().relative_to(root)


def _own_plan(
    plan: ExecutionPlan, root: Path, rewrites: Sequence[SourceRewrite], tokenizer: Tokenizer, folder: Path
) -> ExecutionPlan:
    entry = f"{folder / _entry_copy(plan, root)}:{split_entry(plan.entry)[1]}"
    in_source = {name for rewrite in rewrites for name in rewrite.applied}
    calls = calls_of_entry(entry)
    by_place = {call.id.rpartition(":")[2]: call.id for call in calls}
    gone = [name for rewrite in rewrites for name in rewrite.gone]
    layouts = [
        replace(layout, call=by_place[renumbered(layout.call, gone).rpartition(":")[2]])
        for layout in plan.layouts
        if layout.call not in in_source and layout.call not in gone
    ]
    own = plan_entry(
        entry,
        analyse(calls, tokenizer, plan.block_size),
        target=plan.target,
        model=plan.model,
        tokenizer=tokenizer,
        block_size=plan.block_size,
        capacity_blocks=plan.capacity_blocks,
        layouts=layouts,
    )
    return replace(own, warms=plan.warms, schedule=plan.schedule)
