import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiasm.v1 import models_pb2
from services.runtime.errors import InvalidArgument
from services.runtime.paging import list_models

NAMES = st.lists(st.from_regex(r"models/[a-z0-9-]{1,12}", fullmatch=True), unique=True, max_size=30)


@given(NAMES, st.integers(1, 7))
def test_pages_give_every_model_once_by_name(names: list[str], size: int) -> None:
    models = [models_pb2.Model(name=name) for name in names]
    seen, token, more = [], "", True
    while more:
        page = list_models(models_pb2.ListModelsRequest(page_size=size, page_token=token), models)
        assert len(page.models) <= size
        seen += [model.name for model in page.models]
        token = page.next_page_token
        more = bool(token)
    assert seen == sorted(names)


@pytest.mark.parametrize(("field", "value"), [("page_size", -1), ("page_size", 1_001), ("page_token", "not a token")])
def test_a_bad_page_is_refused_with_its_field(field: str, value: object) -> None:
    with pytest.raises(InvalidArgument) as caught:
        list_models(models_pb2.ListModelsRequest(**{field: value}), [])
    assert caught.value.field == field
