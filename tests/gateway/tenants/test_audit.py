import asyncio
import contextlib
import json
import time
from pathlib import Path

import pytest

from services.gateway.tenants import audit
from services.gateway.tenants.audit import AuditLog, Entry
from services.runtime.errors import Overloaded


def tell(log: AuditLog, count: int = 1, error: BaseException | None = None) -> None:
    for number in range(count):
        with contextlib.suppress(BaseException), log.call(Entry("service/Method", request_id=f"{number:04}")):
            if error is not None:
                raise error


def lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_every_end_of_a_call_has_its_name(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit")
    log.open()
    for error in (None, Overloaded("busy"), ValueError("secret"), asyncio.CancelledError(), NotImplementedError()):
        tell(log, error=error)
    log.close()
    told = lines(tmp_path / "audit")
    assert [line["status"] for line in told] == ["OK", "RESOURCE_EXHAUSTED", "INTERNAL", "CANCELLED", "UNIMPLEMENTED"]
    assert told[1]["reason"] == "OVERLOADED"
    assert "secret" not in (tmp_path / "audit").read_text()


def test_files_are_rotated_and_bounded_in_number(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit", max_bytes=2_000, files=2)
    log.open()
    tell(log, 100)
    log.close()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["audit", "audit.1", "audit.2"]
    assert all((tmp_path / name).stat().st_size <= 2_000 for name in files)
    kept = [line["request_id"] for name in reversed(files) for line in lines(tmp_path / name)]
    assert kept == [f"{number:04}" for number in range(100 - len(kept), 100)]
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in files} == {0o600}


def test_it_goes_on_where_it_ended(tmp_path: Path) -> None:
    for _ in range(2):
        log = AuditLog(tmp_path / "audit")
        log.open()
        tell(log)
        log.close()
    assert len(lines(tmp_path / "audit")) == 2


def test_lines_that_the_disk_cannot_take_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "QUEUED", 2)
    log = AuditLog(tmp_path / "audit")
    log.open()
    with log._file.lock:  # the writer stands still with one line in its hand, or none yet
        tell(log, 10)
    while not log._lines.empty():
        pass
    tell(log)
    log.close()
    told = lines(tmp_path / "audit")
    assert sum(line.get("lost", 0) for line in told) + len(told) == 11
    assert len(told) < 11


def test_lines_that_a_full_disk_does_not_take_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "audit"
    file.symlink_to("/dev/full")
    log = AuditLog(file)
    log.open()
    for _ in range(3):
        failed = log._file.failed
        tell(log)
        while log._file.failed == failed:
            time.sleep(0.001)
    file.unlink()
    tell(log, 2)
    log.close()
    (first, second) = lines(file)
    assert (first["lost"], "lost" in second) == (3, False)
    (record,) = caplog.records
    assert "No space left" in record.why
    assert capfd.readouterr().err == ""


def test_a_line_that_was_cut_short_spoils_no_other(tmp_path: Path) -> None:
    file = tmp_path / "audit"
    file.write_text('{"time": "2026')
    log = AuditLog(file)
    log.open()
    tell(log)
    log.close()
    torn, whole = file.read_text().splitlines()
    assert torn == '{"time": "2026'
    assert json.loads(whole)["status"] == "OK"


def test_without_a_file_nothing_is_kept(tmp_path: Path) -> None:
    log = AuditLog(None)
    log.open()
    tell(log)
    log.close()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_told_of_at_once(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="absent"):
        AuditLog(tmp_path / "absent" / "audit").open()
