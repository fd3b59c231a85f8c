"""Keys are shown once and told to nobody again; people come by a link and go when they are sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from assay.accounts import costs, keys, people
from assay.project.workspace import Workspace
from assay.store.secrets import VARIABLE, list_origins
from assay.studio.shared.provider_form import BATCHES
from tests.studio.browsing import Studio, studio
from tests.studio.signing_in import signed_in

pytestmark = pytest.mark.slow

_GO_ON = """([button, field]) => {
  window.leads = [];
  for (const name of ["leadTo", "leadToError"]) {
    const lead = window[name];
    window[name] = (...rest) => { window.leads.push(name); return lead(...rest); };
  }
  const goOn = () => setTimeout(() => field.focus());
  button.addEventListener("click", goOn, { once: true });
}"""
"""Goes on to a field as soon as a button is pressed, and notes what leads away from it."""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("people") / "folder"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(f"{VARIABLE}_FILE", str(tmp_path_factory.mktemp("master") / "key"))
        with studio(folder) as running:
            yield running


def test_an_api_key_is_shown_once(browser: Browser, up: Studio) -> None:
    store, owner = Workspace(up.folder).store, Workspace(up.folder).name
    with signed_in(browser, up, "admin") as visitor:
        page = visitor.open("/people")
        page.get_by_label("Name of the key", exact=True).fill("the shop")
        page.get_by_label("Budget in USD").fill("5")
        page.get_by_role("button", name="Create key").click()
        shown = page.get_by_role("region", name="New API key")
        expect(shown).to_contain_text("assay-")
        expect(shown).to_be_in_viewport()
        expect(page.get_by_text("The key was created.")).to_be_visible()
        secret = shown.inner_text().strip()
        found = keys.find_key(store, secret)
        assert found is not None
        assert (found.name, found.scopes) == ("the shop", ("chat",))
        assert costs.budgets(store)[found.id].most == 5
        page.get_by_role("button", name="Revoke the shop").click()
        page.get_by_role("button", name="Revoke", exact=True).click()
        expect(page.get_by_text("revoked", exact=True)).to_be_visible()
        expect(shown).to_have_count(0)
        page = visitor.open("/people")
        expect(page.get_by_role("cell", name="the shop")).to_be_visible()
        assert secret not in page.content()
    assert keys.find_key(store, secret) is None
    assert all(key.project == owner for key in keys.list_keys(store))


def test_an_empty_form_makes_no_key(browser: Browser, up: Studio) -> None:
    store = Workspace(up.folder).store
    before = len(keys.list_keys(store))
    with signed_in(browser, up, "admin") as visitor:
        page = visitor.open("/people")
        page.set_viewport_size({"width": 390, "height": 500})
        page.get_by_role("button", name="Create key").click()
        expect(page.get_by_text("The name is missing.")).to_be_in_viewport()
        page.get_by_label("Name of the key", exact=True).fill("the cellar")
        page.get_by_role("checkbox", name="Chat").click()
        page.get_by_role("button", name="Create key").click()
        expect(page.get_by_text("Choose at least one scope.")).to_be_in_viewport()
        page.get_by_role("checkbox", name="Chat").click()
        page.get_by_label("Name of the key", exact=True).fill("")
        page.get_by_role("button", name="Create key").click()
        expect(page.get_by_label("Name of the key", exact=True)).to_be_focused()
        page.get_by_label("Name of the key", exact=True).fill("the cellar")
        page.get_by_label("Budget in USD").fill("-5")
        page.get_by_role("button", name="Create key").click()
        budget = page.get_by_label("Budget in USD")
        expect(page.get_by_text("-5 is too little: at least 0.")).to_be_visible()
        expect(budget).to_have_value("-5")
        expect(budget).to_be_focused()
        create = page.get_by_role("button", name="Create key")
        name = page.get_by_label("Name of the key", exact=True)
        page.evaluate(_GO_ON, [create.element_handle(), name.element_handle()])
        create.click()
        page.wait_for_function(
            "new Set(window.leads).size === 2"
        )  # of the field, and of the button
        page.wait_for_timeout(200)
        expect(name).to_be_focused()
        visitor.axe()
    assert len(keys.list_keys(store)) == before


def test_a_key_for_some_documents_is_made_and_renamed(browser: Browser, up: Studio) -> None:
    store = Workspace(up.folder).store
    with signed_in(browser, up, "admin") as visitor:
        page = visitor.open("/people")
        page.get_by_label("Name of the key", exact=True).fill("the desk")
        page.get_by_label("Only documents with these labels").fill("public, desk")
        page.get_by_role("checkbox", name="Files").click()
        page.get_by_role("button", name="Create key").click()
        refused = page.get_by_role("alert")
        expect(refused).to_contain_text("With the scope Files a key sees more than documents")
        page.get_by_role("checkbox", name="Files").click()
        page.get_by_role("checkbox", name="Chat").click()
        page.get_by_role("button", name="Create key").click()
        expect(refused).to_contain_text("Choose at least one scope.")
        expect(page.locator(".notice")).to_have_count(0)
        page.get_by_role("checkbox", name="Chat").click()
        page.get_by_role("button", name="Create key").click()
        secret = page.get_by_role("region", name="New API key").inner_text().strip()
        expect(page.get_by_text("only labels desk, public")).to_be_visible()
        page.get_by_label("Name of the key", exact=True).fill("the desk")
        page.get_by_role("button", name="Create key").click()
        expect(page.get_by_text("There is already a key named the desk.")).to_be_visible()
        page.get_by_label("Name of the key", exact=True).fill("")
        page.get_by_role("button", name="Rename the desk").click()
        page.get_by_label("New name of the key").fill("")
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.get_by_text("The name is missing.")).to_be_visible()
        page.get_by_label("New name of the key").fill("the front desk")
        visitor.axe("color-contrast")  # of what lies behind the dialog
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.get_by_role("cell", name="the front desk")).to_be_visible()
        page.get_by_role("button", name="Set budget of the front desk").click()
        budget, keep = (
            page.get_by_label("Total budget in USD"),
            page.get_by_role("button", name="Save", exact=True),
        )
        budget.fill("")
        keep.click()
        expect(page.get_by_text("Enter an amount; 0: no providers.")).to_be_visible()
        budget.fill("-5")
        keep.click()
        expect(page.get_by_text("-5 is too little: at least 0.")).to_be_visible()
        budget.fill("0")
        keep.click()
        expect(page.get_by_text("$0 of $0")).to_be_visible()
    found = keys.find_key(store, secret)
    assert found is not None
    assert (found.name, found.labels) == ("the front desk", ("desk", "public"))


def test_a_providers_key_goes_in_and_never_out(
    browser: Browser, up: Studio, tmp_path: Path
) -> None:
    secret = "sk-nobody-reads-this-again"
    with signed_in(browser, up, "admin") as visitor:
        page = visitor.open("/people?part=providers")
        add = page.get_by_role("button", name="Add provider")
        add.click()
        expect(page.get_by_text("OpenAI needs a key.")).to_be_visible()
        page.get_by_label("Key of the provider").fill(secret)
        page.get_by_role("combobox", name="Use the provider's batches for").click()
        page.get_by_role("option", name=BATCHES["always"][0]).click()
        add.click()
        expect(page.get_by_role("cell", name="openai", exact=True)).to_be_visible()
        assert Workspace(up.folder).providers["openai"].batch is True
        expect(page.get_by_role("cell", name="kept", exact=True)).to_be_visible()
        # Another of its name, as one that needs no key, does not erase the key.
        page.get_by_label("Address of the provider").fill("https://elsewhere.example/v1")
        add.click()
        expect(page.get_by_text("There is a provider openai already.")).to_be_visible()
        kept = list_origins(Workspace(up.folder).store, Workspace(up.folder).name)
        assert kept == {"openai": "https://api.openai.com:443"}
        expect(page.get_by_label("Key of the provider")).to_have_value("")
        name, address = (page.get_by_label(f"{n} of the provider") for n in ("Name", "Address"))
        for at, typed, said in (
            (name, "", "The name is missing."),
            (name, "Open AI", "'Open AI' is not a valid name for a provider."),
            (address, "elsewhere.example", "Use an address such as https://"),
            (address, "http://elsewhere.example/v1", "Use https://, or check “It runs on this"),
        ):
            name.fill("another")
            address.fill("https://elsewhere.example/v1")
            at.fill(typed)
            add.click()
            expect(page.get_by_text(said)).to_be_visible()
            expect(page.locator(".notice")).to_have_count(0)
        page.get_by_role("button", name="Test: openai").click()
        page.get_by_role("button", name="Send").click()
        expect(page.get_by_text("Enter a model name")).to_be_visible()
        page = visitor.open("/people?part=providers")
        expect(page.get_by_role("cell", name="openai", exact=True)).to_be_visible()
        assert secret not in page.content()
        page.get_by_role("button", name="Remove: openai").click()
        page.get_by_role("button", name="Remove", exact=True).click()
        expect(page.get_by_role("cell", name="openai", exact=True)).to_have_count(0)
    for file in Workspace(up.folder).store.folder.rglob("*"):
        assert not file.is_file() or secret.encode() not in file.read_bytes()


def test_people_come_by_a_link_and_are_demoted_at_once(browser: Browser, up: Studio) -> None:
    with signed_in(browser, up, "admin") as visitor:
        page = visitor.open("/people?part=people")
        page.get_by_role("button", name="Add person").click()
        expect(page.get_by_text("A name must have 1 to 80 characters.")).to_be_visible()
        page.get_by_label("Name of the person").fill("cleo")
        page.get_by_label("Role of the person").click()
        page.get_by_role("option", name="editor").click()
        page.set_viewport_size({"width": 390, "height": 500})
        page.get_by_role("button", name="Add person").click()
        shown = page.get_by_role("region", name="Sign-in link for cleo")
        expect(shown).to_be_in_viewport()
        link = shown.inner_text().strip()
        other = browser.new_context()
        theirs = other.new_page()
        theirs.goto(link)
        expect(theirs.get_by_text("cleo", exact=True)).to_be_visible()
        theirs_alone = theirs.get_by_role("link", name="Keys and people")
        expect(theirs_alone).to_have_count(0)
        page.get_by_label("Role of cleo").click()
        page.get_by_role("option", name="admin").click()
        expect(theirs.get_by_text("You now have the role admin.")).to_be_visible()
        theirs.get_by_role("button", name="Reload").click()
        expect(theirs_alone).to_be_visible()
        expect(theirs.get_by_text("You now have the role")).to_have_count(0)
        page.get_by_label("Role of cleo").click()
        page.get_by_role("option", name="viewer").click()
        expect(page.get_by_text("cleo now has the role viewer.")).to_be_visible()
        expect(theirs.get_by_text("Your sign-in has ended")).to_be_visible()
        expect(theirs.get_by_text("Ask an administrator")).to_be_visible()
        other.close()
        workspace = Workspace(up.folder)
        for person in people.people(workspace):
            if person.role == "admin" and person.name != "admin":
                people.set_role(workspace, person.id, "viewer")
        own = page.get_by_label("Role of admin")
        own.click()
        page.get_by_role("option", name="viewer").click()
        expect(page.get_by_text("this is the only admin")).to_be_visible()
        expect(own).to_have_value("admin")  # the role that is, not the one that was refused
    assert people.find(workspace, "cleo").role == "viewer"


def test_an_editor_sees_none_of_it(browser: Browser, up: Studio) -> None:
    with signed_in(browser, up, "editor") as visitor:
        page = visitor.page
        page.goto(f"{up.url}/studio/people")
        expect(page.get_by_text("You cannot open this page")).to_be_visible()
