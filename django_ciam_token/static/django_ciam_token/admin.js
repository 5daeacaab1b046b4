/* Buttons that copy the value of data-ciam-copy, or the text of the element with the id in data-ciam-copy-from. */
"use strict";

(function () {
    function copy(text) {
        if (navigator.clipboard && window.isSecureContext) {
            return navigator.clipboard.writeText(text);
        }
        // Without TLS, as in development, browsers don't offer the clipboard API.
        const area = document.createElement("textarea");
        area.value = text;
        area.className = "visually-hidden";
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

    if (document.readyState === "loading") {
        document.addEventListener("DOMContentLoaded", reveal);
    } else {
        reveal();
    }
})();
