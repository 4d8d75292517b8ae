from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor

class ErrorReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_REASON_UNSPECIFIED: _ClassVar[ErrorReason]
    ERROR_REASON_FIELD_REQUIRED: _ClassVar[ErrorReason]
    ERROR_REASON_FIELD_INVALID: _ClassVar[ErrorReason]
    ERROR_REASON_MEDIA_TYPE_UNSUPPORTED: _ClassVar[ErrorReason]
    ERROR_REASON_MEDIA_CORRUPT: _ClassVar[ErrorReason]
    ERROR_REASON_MEDIA_SIZE: _ClassVar[ErrorReason]
    ERROR_REASON_MEDIA_FORMAT: _ClassVar[ErrorReason]
    ERROR_REASON_MEDIA_COUNT: _ClassVar[ErrorReason]
    ERROR_REASON_PROMPT_TOO_LONG: _ClassVar[ErrorReason]
    ERROR_REASON_TASK_UNSUPPORTED: _ClassVar[ErrorReason]
    ERROR_REASON_MODEL_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_WEIGHTS_MISSING: _ClassVar[ErrorReason]
    ERROR_REASON_DEADLINE: _ClassVar[ErrorReason]
    ERROR_REASON_OVERLOADED: _ClassVar[ErrorReason]
    ERROR_REASON_MODEL_UNAVAILABLE: _ClassVar[ErrorReason]
    ERROR_REASON_SHUTTING_DOWN: _ClassVar[ErrorReason]
    ERROR_REASON_ENGINE_FAILED: _ClassVar[ErrorReason]
    ERROR_REASON_INTERNAL: _ClassVar[ErrorReason]
    ERROR_REASON_CANCELLED: _ClassVar[ErrorReason]
    ERROR_REASON_MESSAGE_SIZE: _ClassVar[ErrorReason]
ERROR_REASON_UNSPECIFIED: ErrorReason
ERROR_REASON_FIELD_REQUIRED: ErrorReason
ERROR_REASON_FIELD_INVALID: ErrorReason
ERROR_REASON_MEDIA_TYPE_UNSUPPORTED: ErrorReason
ERROR_REASON_MEDIA_CORRUPT: ErrorReason
ERROR_REASON_MEDIA_SIZE: ErrorReason
ERROR_REASON_MEDIA_FORMAT: ErrorReason
ERROR_REASON_MEDIA_COUNT: ErrorReason
ERROR_REASON_PROMPT_TOO_LONG: ErrorReason
ERROR_REASON_TASK_UNSUPPORTED: ErrorReason
ERROR_REASON_MODEL_NOT_FOUND: ErrorReason
ERROR_REASON_WEIGHTS_MISSING: ErrorReason
ERROR_REASON_DEADLINE: ErrorReason
ERROR_REASON_OVERLOADED: ErrorReason
ERROR_REASON_MODEL_UNAVAILABLE: ErrorReason
ERROR_REASON_SHUTTING_DOWN: ErrorReason
ERROR_REASON_ENGINE_FAILED: ErrorReason
ERROR_REASON_INTERNAL: ErrorReason
ERROR_REASON_CANCELLED: ErrorReason
ERROR_REASON_MESSAGE_SIZE: ErrorReason
