from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Usage(_message.Message):
    __slots__ = ("input_tokens", "output_tokens", "media_input_tokens", "cached_input_tokens", "reasoning_output_tokens", "cost_nanousd")
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MEDIA_INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHED_INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    REASONING_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    COST_NANOUSD_FIELD_NUMBER: _ClassVar[int]
    input_tokens: int
    output_tokens: int
    media_input_tokens: int
    cached_input_tokens: int
    reasoning_output_tokens: int
    cost_nanousd: int
    def __init__(self, input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ..., media_input_tokens: _Optional[int] = ..., cached_input_tokens: _Optional[int] = ..., reasoning_output_tokens: _Optional[int] = ..., cost_nanousd: _Optional[int] = ...) -> None: ...

class Price(_message.Message):
    __slots__ = ("input_nanousd_per_million_tokens", "output_nanousd_per_million_tokens")
    INPUT_NANOUSD_PER_MILLION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_NANOUSD_PER_MILLION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    input_nanousd_per_million_tokens: int
    output_nanousd_per_million_tokens: int
    def __init__(self, input_nanousd_per_million_tokens: _Optional[int] = ..., output_nanousd_per_million_tokens: _Optional[int] = ...) -> None: ...
