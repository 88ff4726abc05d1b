"""What a link to the page shows elsewhere is ours: title, words, picture and icon."""

import io

import pytest
from PIL import Image
from visit import Visit

from lmaczs.ui import text
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
