"""Chat templates with think blocks: small ones that behave as Qwen 3's and as that of DeepSeek's R1 distils, with the
starter model's tokens.
"""

# Thoughts of earlier turns are dropped; the last turn gets an empty block if it has none.
QWEN3 = (
    "{%- set ns = namespace(last=-1) %}"
    "{%- for m in messages %}{%- if m.role == 'user' %}{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}"
    "{%- for m in messages %}"
    "{%- if m.role == 'user' %}{{- '<|user|>' + m.content + '<|end|>\n' }}"
    "{%- else %}"
    "{%- set thought = '' %}{%- set said = m.content %}"
    "{%- if '</think>' in said %}"
    "{%- set thought = said.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}"
    "{%- set said = said.split('</think>')[-1].lstrip('\n') %}"
    "{%- endif %}"
    "{{- '<|assistant|>' }}"
    "{%- if loop.index0 > ns.last %}{{- '<think>\n' + thought.strip('\n') + '\n</think>\n\n' }}{%- endif %}"
    "{{- said + '<|end|>\n' }}"
    "{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|assistant|>' }}"
    "{%- if enable_thinking is defined and not enable_thinking %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}"
    "{%- endif %}"
)
# Everything up to </think> is dropped of every turn, and the prompt opens a block.
R1 = (
    "{%- for m in messages %}"
    "{%- if m.role == 'user' %}{{- '<|user|>' + m.content }}"
    "{%- else %}{{- '<|assistant|>' + m.content.split('</think>')[-1] + '<|end|>' }}"
    "{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|assistant|><think>\n' }}{%- endif %}"
)
