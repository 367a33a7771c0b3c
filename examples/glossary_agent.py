"""An agent of one's own: explains the terms of a question from a Markdown glossary (a heading each, then its text).

python examples/glossary_agent.py GLOSSARY.md MESH_ADDRESS
"""

import asyncio
import re
import sys
from pathlib import Path

from answermesh.agents import Run
from answermesh.agents.serving.service import serve_agent
from answermesh.v1.finding_pb2 import Finding, Note
from answermesh.v1.mesh_pb2 import AgentCard


class Glossary:
    card = AgentCard(
        agent="glossary",
        description="Explains the terms of the question.",
        consumes=[AgentCard.Consumption(kind=Finding.KIND_ENTITY, optional=True)],
        produces=[Finding.KIND_NOTE],
        idempotent=True,
    )

    def __init__(self, markdown: str) -> None:
        self.terms = dict(re.findall(r"^#+ (.+)\n+([^#\n].+)", markdown, re.MULTILINE))

    async def run(self, run: Run) -> None:
        entities = {finding.entity.display_name.casefold() async for finding in run.findings}
        for term, text in self.terms.items():
            if term.casefold() in entities or re.search(rf"\b{re.escape(term)}s?\b", run.question, re.IGNORECASE):
                await run.emit(Finding(note=Note(label="glossary", text=f"{term}: {text}"[:4000])))


if __name__ == "__main__":
    glossary, address = Path(sys.argv[1]).read_text(encoding="utf-8"), sys.argv[2]
    asyncio.run(serve_agent(Glossary(glossary), mesh_address=address))
