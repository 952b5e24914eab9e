"""CrewAI (https://docs.crewai.com): crews, agents and LLMs; flows are the program's own code and no entries."""

from __future__ import annotations

from charter_compiler.parser.sdk.signature import Carrier, Sdk, Signature, Transparent, methods

_KICKOFF = (".kickoff", ".kickoff_async", ".akickoff")
_KICKOFF_EACH = (".kickoff_for_each", ".kickoff_for_each_async", ".akickoff_for_each")
_CREW, _TASK = ("crewai.**.Crew",), ("crewai.**.Task", "crewai.**.ConditionalTask")
_AGENT = ("crewai.**.Agent", "crewai.**.LiteAgent")
_LLM = ("crewai.**.LLM", "crewai.**.BaseLLM")

SDK = Sdk(
    signatures=(
        Signature(
            api="crewai.Crew",
            callees=methods(_CREW, *_KICKOFF),
            # The project template has a class whose method `crew` makes the crew.
            tails=tuple(f".crew(){name}" for name in _KICKOFF),
            prompt=("inputs", 0),
            form="either",
            texts=("", ".raw", ".pydantic"),
        ),
        Signature(
            api="crewai.Crew",
            callees=methods(_CREW, *_KICKOFF_EACH),
            prompt=("inputs", 0),
            form="either",
            many=True,
            texts=("[0]", "[0].raw"),
        ),
        Signature(
            api="crewai.Agent",
            callees=methods(_AGENT, *_KICKOFF),
            prompt=("messages", 0),
            form="either",
            texts=("", ".raw", ".pydantic"),
        ),
        Signature(
            api="crewai.Task",
            callees=(
                *methods(_TASK, ".execute_sync", ".execute_async", ".aexecute_sync", ".execute"),
                *methods(_AGENT, ".execute_task", ".aexecute_task"),
            ),
            prompt=("context", 1),
            form="text",
            also=("task", 0),
            texts=("", ".raw"),
        ),
        Signature(api="crewai.LLM", callees=methods(_LLM, ".call", ".acall"), prompt=("messages", 0), form="either"),
    ),
    carriers=(
        Carrier(_AGENT, ("role", "goal", "backstory", "system_template", "prompt_template")),
        Carrier(_TASK, ("agent", "description", "expected_output"), role="user"),
        Carrier(_CREW, ("agents", "tasks")),
    ),
    transparent=(Transparent(methods(_CREW, ".copy")), Transparent(methods(_AGENT, ".copy"))),
    models=(*_CREW, *_AGENT, *_LLM),
)
