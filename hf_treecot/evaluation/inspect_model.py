"""A model in this process as Inspect has models: batched and exact in its counts, the built-in ones among them.

    inspect eval hf_treecot/letters --model treecot/starter
    inspect eval hf_treecot/gsm8k --model treecot/Qwen/Qwen2.5-1.5B-Instruct -M dtype=bfloat16

Greedy unless a temperature is given. It must not know what is asked.
"""

from collections import Counter
from typing import Any

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from ..engines.engine import seed_of
from ..engines.local import LocalEngine
from ..errors import InvalidInputError
from ..starter.built_in import BUILT_IN, model_path
from .outputs import reply


DEFAULT_TOKENS = 2048  # of a reply, where neither task nor command says


class EngineAPI(ModelAPI):
    """
    The embedded engine.

    Args:
        model_name (`str`): A Hub name, a directory, or `starter` or `hasty`.
        base_url, api_key (`str`, *optional*): Of servers; not used.
        config (`GenerateConfig`): Sampling; see Inspect.
        **model_args: Arguments of [`LocalEngine.from_pretrained`], as `-M name=value`.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 - Inspect's own default
        **model_args: Any,
    ):
        super().__init__(model_name, base_url, api_key, [], config)
        self.engine = LocalEngine.from_pretrained(model_path(model_name), name=BUILT_IN.get(model_name), **model_args)
        self._asked: Counter[str] = Counter()  # how often each prompt was, since epochs do not say their number

    def max_connections(self) -> int:
        """Requests at a time: those that the engine works on together."""
        return self.engine.max_batch_size

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        """
        Reply to a conversation.

        Raises:
            InvalidInputError: Tools were given.
        """
        if tools:
            raise InvalidInputError(f"model 'treecot/{self.model_name}' uses no tools: give the task without them")
        messages = [{"role": message.role, "content": message.text} for message in input]
        temperature = config.temperature or 0.0
        prompt = self.engine.render_chat(messages)
        seed = seed_of(config.seed or 0, prompt, self._asked[prompt])
        self._asked[prompt] += 1
        top_p = config.top_p if temperature and config.top_p else 1.0
        completion = await reply(self.engine, messages, config.max_tokens or DEFAULT_TOKENS, temperature, top_p, seed)
        message = ChatMessageAssistant(content=completion.text, model=self.model_name, source="generate")
        stop_reason = "max_tokens" if completion.finish_reason == "length" else "stop"
        asked, written = completion.prompt_tokens, completion.tokens
        return ModelOutput(
            model=self.model_name,
            choices=[ChatCompletionChoice(message=message, stop_reason=stop_reason)],
            usage=ModelUsage(input_tokens=asked, output_tokens=written, total_tokens=asked + written),
        )
