from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from admin.scene import Scene
from catalog import conftest as of_catalog
from whyray.admin import actions_of, create_app
from whyray.catalog import Catalog, studies

postgres = of_catalog.postgres


@pytest.fixture(scope="session")
def afternoon(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("afternoon")).afternoon()


@pytest.fixture
def scene(afternoon: Scene, tmp_path: Path) -> Iterator[Scene]:
    """An afternoon with one job in every state, to act on."""
    copied = afternoon.copy(tmp_path / "scene")
    yield copied
    copied.catalog.close()


@pytest.fixture
def client(scene: Scene) -> Iterator[TestClient]:
    """A local client of an endpoint without token."""
    with local_client(scene) as client:
        yield client


def local_client(scene: Scene, catalog: Catalog | None = None, **more: object) -> TestClient:
    """A client of an endpoint of the scene, or of the same with another catalog."""

    def known(uid: str) -> bool:
        return studies.is_own(scene.catalog, uid)

    actions = actions_of(lambda: scene.config, known=known)
    app = create_app(catalog or scene.catalog, scene.storage, lambda: scene.config, actions=actions)
    options = {"base_url": "http://localhost:8080", "client": ("127.0.0.1", 50000), "follow_redirects": False} | more
    return TestClient(app, **options)  # type: ignore[arg-type]
