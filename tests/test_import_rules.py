"""Who may import whom (design): services/X -> services/runtime -> chiasm/v1; chiasm imports neither."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "transformers", "vllm", "google.genai", "lancedb", "numpy")


def imports(file: Path) -> set[str]:
    """Every module that `file` imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports hide who is imported"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def below(modules: set[str], *packages: str) -> set[str]:
    return {module for module in modules if any(module == p or module.startswith(f"{p}.") for p in packages)}


def files(folder: str) -> list[Path]:
    found = [path for path in (ROOT / folder).rglob("*.py") if not path.name.endswith(("_pb2.py", "_pb2_grpc.py"))]
    assert found, folder
    return found


SERVICES = sorted(path.name for path in (ROOT / "services").iterdir() if (path / "service.py").exists())


def test_there_are_services() -> None:
    assert {"embedder", "gateway", "paligemma"} <= set(SERVICES)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_imports_the_runtime_and_the_contract_alone(service: str) -> None:
    for file in files(f"services/{service}"):
        ours = below(imports(file), "services", "chiasm", "models", "evals", "tests", "scripts")
        assert ours == below(ours, f"services.{service}", "services.runtime", "chiasm.v1"), file


def test_the_runtime_imports_the_contract_alone_and_no_model_library() -> None:
    for file in files("services/runtime"):
        modules = imports(file)
        ours = below(modules, "services", "chiasm", "models", "evals", "tests", "scripts")
        assert ours == below(ours, "services.runtime", "chiasm.v1"), file
        assert not below(modules, *HEAVY), file


def test_the_client_imports_no_service() -> None:
    for file in files("chiasm"):
        modules = imports(file)
        assert not below(modules, "services", "models", "tests", "scripts", *HEAVY), file
        assert not below(modules, "evals") or file.name in ("eval.py", "calibrate.py"), file


def test_the_command_loads_the_evals_only_to_run_them() -> None:
    code = "import sys, chiasm.command.main; print({'evals', 'numpy', 'PIL'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True) == "set()\n"


def test_the_evals_import_the_client_and_the_tiny_world_alone() -> None:
    for file in files("evals"):
        ours = below(imports(file), "services", "chiasm", "models", "tests", "scripts")
        assert ours == below(ours, "chiasm", "models.world") - below(ours, "chiasm.v1"), file


@pytest.mark.parametrize("service", ["embedder", "paligemma"])
def test_protos_stop_at_service_and_convert(service: str) -> None:
    """Inside a service nothing but its door knows the contract's messages; errors' reasons are names, not messages."""
    for file in files(f"services/{service}"):
        if not file.name.endswith(("service.py", "convert.py")):
            assert not below(imports(file), "chiasm.v1") - below(imports(file), "chiasm.v1.errors_pb2"), file
