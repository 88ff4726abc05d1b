"""What a link to the page shows elsewhere is ours: title, words, picture and icon."""

import io

import pytest
from PIL import Image
from visit import Visit

from lmaczs.ui import text
from lmaczs.ui.cards import cards
from lmaczs.ui.facts import about
from lmaczs.ui.link_preview import own_tags


def test_the_page_tells_of_itself_and_not_of_gradio(visit: Visit, server: str):
    page = visit.page.request.get(server).text()
    head = page[: page.index("</head>")]
    assert f'<meta property="og:title" content="{text.TITLE}" />' in head
    assert f'<meta name="description" content="{text.LEAD}" />' in head
    assert "gradio-app/gradio" not in head and "teamGradio" not in head
    assert head.count("og:image") == 1 and f'content="{server}/preview.png"' in head
    picture = visit.page.request.get(f"{server}/preview.png")
    assert picture.headers["content-type"] == "image/png"
    assert picture.headers["x-content-type-options"] == "nosniff"
    assert Image.open(io.BytesIO(picture.body())).size == (1200, 630)
    icon = visit.page.request.get(f"{server}/favicon.ico")
    assert Image.open(io.BytesIO(icon.body())).size == (64, 64)


def test_the_outline_stands_until_the_page_does(visit: Visit, server: str):
    outline = visit.page.locator("#lz-skeleton")
    assert outline.count() == 1 and outline.is_hidden()
    page = visit.page.context.new_page()
    # Nothing but the page itself comes.
    page.route("**/*.js", lambda route: None)
    page.goto(server, wait_until="commit")
    page.wait_for_selector("#lz-skeleton")
    assert page.locator("#lz-skeleton").inner_text().split("\n")[0] == text.TITLE
    page.close()


def test_what_a_first_visit_brings_is_small(visit: Visit, server: str):
    """700 kB, so that 1.6 Mbit/s are enough; see benchmarks/page_speed.json for the seconds."""
    page = visit.page.context.new_page()
    log = page.context.new_cdp_session(page)
    log.send("Network.enable")
    log.send("Network.setCacheDisabled", {"cacheDisabled": True})
    sizes = []
    log.on("Network.loadingFinished", lambda found: sizes.append(found["encodedDataLength"]))
    # Not what is worked out for whoever has seen the first explanation.
    page.route("**/queue/join*", lambda route: None)
    page.goto(server)
    page.wait_for_selector('.lz-player[data-ready="yes"]')
    assert 200_000 < sum(sizes) <= 700_000
    page.close()


def test_cards_can_be_read(visit: Visit, server: str):
    for name in cards():
        answer = visit.page.request.get(f"{server}/cards/{name}")
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.text() == cards()[name].read_text("utf-8")
    assert visit.page.request.get(f"{server}/cards/..%2f..%2fpyproject.toml").status == 404
    visit.page.get_by_role("button", name="About what you see and hear").click()
    about = visit.page.locator("#lz-about")
    about.locator("a").first.wait_for()
    addresses = about.locator("a").evaluate_all("links => links.map(link => link.href)")
    assert [address for address in addresses if "arxiv.org" not in address] == [
        *(f"{server}/cards/{name}" for name in cards()),
        f"{server}/gradio_api/info",
    ]
    assert len(addresses) == len(cards()) + 3


def test_a_space_shows_its_code(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SPACE_ID", "someone/hear-why")
    assert 'href="https://huggingface.co/spaces/someone/hear-why/tree/main"' in about()
    monkeypatch.setenv("SPACE_ID", 'x" onclick="alert(1)')
    assert "onclick" not in about()


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ([(b"host", b"hear.example")], "http://hear.example/preview.png"),
        (
            [(b"host", b"hear.example"), (b"x-forwarded-proto", b"https,http")],
            "https://hear.example/preview.png",
        ),
        ([(b"host", b"x"), (b"x-forwarded-proto", b"javascript")], "http://x/preview.png"),
    ],
)
def test_the_picture_is_where_others_reach_the_page(headers, address):
    assert f'content="{address}"' in own_tags({"headers": headers, "scheme": "http"})


def test_what_a_client_claims_is_escaped():
    tags = own_tags({"headers": [(b"host", b'"><script>alert(1)</script>')], "scheme": "http"})
    assert "<script" not in tags


@pytest.mark.parametrize(
    ("root", "page"),
    [
        ("", "http://host/"),
        ("/", "http://host/"),
        ("/hear/", "http://host/hear/"),
        ("hear/why", "http://host/hear/why/"),
        ("https://elsewhere.org/hear", "https://elsewhere.org/hear/"),
    ],
)
def test_addresses_have_the_prefix_that_a_proxy_gives(monkeypatch, root, page):
    monkeypatch.setenv("GRADIO_ROOT_PATH", root)
    tags = own_tags({"headers": [(b"host", b"host")], "scheme": "http"})
    assert f'content="{page}"' in tags and f'content="{page}preview.png"' in tags
