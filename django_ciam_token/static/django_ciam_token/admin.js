/*
 * Buttons that copy the value of data-ciam-copy, or the text of the element with the id in data-ciam-copy-from.
 * In the form of a client: the hint for the chosen type, and a word about addresses that it can't have. The server
 * decides; this only says it earlier.
 */
"use strict";

(function () {
    function copy(text) {
        if (navigator.clipboard && window.isSecureContext) {
            return navigator.clipboard.writeText(text);
        }
        // Without TLS, as in development, browsers don't offer the clipboard API.
        const area = document.createElement("textarea");
        area.value = text;
        area.className = "ciam-hidden";
        document.body.append(area);
        area.select();
        const done = document.execCommand("copy");
        area.remove();
        return done ? Promise.resolve() : Promise.reject(new Error("not copied"));
    }

    function textOf(button) {
        const from = button.dataset.ciamCopyFrom;
        return from ? document.getElementById(from).textContent : button.dataset.ciamCopy;
    }

    document.addEventListener("click", function (event) {
        const button = event.target.closest("button.ciam-copy");
        if (!button) {
            return;
        }
        event.preventDefault();
        copy(textOf(button)).then(function () {
            const label = button.firstChild;
            const before = label.textContent;
            label.textContent = button.dataset.ciamCopied;
            button.classList.add("ciam-copied");
            window.setTimeout(function () {
                label.textContent = before;
                button.classList.remove("ciam-copied");
            }, 1500);
        }, function () {});
    });

    function reveal() {
        document.querySelectorAll("button.ciam-copy[hidden]").forEach(function (button) {
            button.hidden = false;
        });
    }

    function chosenType() {
        const select = document.getElementById("id_application_type");
        return select ? select.value : "";
    }

    function showHints() {
        const chosen = chosenType();
        document.querySelectorAll(".ciam-hint").forEach(function (hint) {
            hint.hidden = chosen !== "" && hint.dataset.ciamType !== chosen;
        });
        document.querySelectorAll("textarea[data-ciam-lines]").forEach(checkLines);
    }

    function checkLines(area) {
        const pattern = JSON.parse(area.dataset.ciamLines)[chosenType()];
        const possible = pattern && new RegExp("^(?:" + pattern + ")$");
        const wrong = area.value.split(/\s+/).filter(function (line) {
            return line && possible && !possible.test(line);
        });
        let said = document.getElementById(area.id + "_wrong");
        if (!said) {
            said = document.createElement("p");
            said.id = area.id + "_wrong";
            said.className = "ciam-wrong-lines";
            said.setAttribute("role", "status");
            (area.closest(".flex-container") || area).after(said);
        }
        said.textContent = wrong.length ? area.dataset.ciamWrong + " " + wrong.join(", ") : "";
    }

    function begin() {
        reveal();
        showHints();
        const select = document.getElementById("id_application_type");
        if (select) {
            select.addEventListener("change", showHints);
        }
        document.addEventListener("input", function (event) {
            if (event.target.matches("textarea[data-ciam-lines]")) {
                checkLines(event.target);
            }
        });
    }

    if (document.readyState === "loading") {
        document.addEventListener("DOMContentLoaded", begin);
    } else {
        begin();
    }
})();
