/* Buttons that copy what data-ciam-copy says, or the text of the element that data-ciam-copy-from names. */
"use strict";

(function () {
    function copy(text) {
        if (navigator.clipboard && window.isSecureContext) {
            return navigator.clipboard.writeText(text);
        }
        // A site under development has no TLS, and then no clipboard of the modern kind.
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
