"""Language models: the only door to them, over any OpenAI-compatible HTTP API.

LanguageModels.from_settings(settings)      None where no provider is configured: then there is no language model
  .complete(task, messages, …)              a stream of text
  .complete_json(task, messages, schema, …) a value that fits the schema
Ledger                                      what the calls of one run cost
Embeddings                                  vectors from a provider, instead of the embedded model
"""

from answermesh.llm.embeddings import Embeddings
from answermesh.llm.language_models import LanguageModels
from answermesh.llm.ledger import Ledger
from answermesh.llm.provider import Message

__all__ = ["Embeddings", "LanguageModels", "Ledger", "Message"]
