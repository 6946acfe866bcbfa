"""The page of app.py in a browser."""

import pytest
from helpers import set_screen
from helpers.page_server import recording


def drop(browser, server, path, width, dark=False):
    """The page after `path` was chosen, in a window of `width` pixels, once it has an answer."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    set_screen(browser, width, dark)
    browser.get(f"http://127.0.0.1:{server.server_port}")
    browser.find_element(By.ID, "file").send_keys(str(path))
    ended = "return !document.getElementById('result').hidden || document.getElementById('status').className == 'bad'"
    WebDriverWait(browser, 60).until(lambda page: page.execute_script(ended))
    return {part: browser.find_element(By.ID, part) for part in ("verdict", "name", "status", "result", "timeline")}


@pytest.mark.slow
@pytest.mark.parametrize("width,dark", [(1200, False), (360, True)])
def test_a_dropped_file_is_heard_and_its_verdict_seen(browser, server, tmp_path, width, dark):
    path = tmp_path / "<img src=x onerror=alert(1)>.wav"
    path.write_bytes(recording())
    page = drop(browser, server, path, width, dark)
    assert page["verdict"].text and page["name"].text == path.name  # the name is text, no element
    assert browser.execute_script("return document.querySelectorAll('#name *').length") == 0
    assert page["timeline"].text.startswith("0.0 s to ")
    play = "return [document.getElementById('player').duration, document.getElementById('plot').naturalWidth]"
    assert browser.execute_script(play) == [9, 900]
    scroll, paper = browser.execute_script(
        "return [document.documentElement.scrollWidth, getComputedStyle(document.body).backgroundColor]"
    )
    assert scroll <= width  # nothing sticks out to the side
    assert (sum(map(int, paper[4:-1].split(", "))) < 300) == dark
    assert browser.get_log("browser") == []  # no script has failed, nothing was blocked


@pytest.mark.slow
def test_the_page_says_what_is_wrong_with_a_file(browser, server, tmp_path):
    (tmp_path / "notes.wav").write_text("no audio")
    page = drop(browser, server, tmp_path / "notes.wav", 1200)
    assert page["status"].text.startswith("notes.wav cannot be decoded as audio") and not page["result"].is_displayed()
    (tmp_path / "large.wav").write_bytes(bytes(3_000_000))
    page = drop(browser, server, tmp_path / "large.wav", 1200)
    assert page["status"].text == "The file has 3.0 MB. At most 2 MB are allowed."
