// SPDX-License-Identifier: Apache-2.0
//
// A modal <dialog>: the browser keeps the focus inside, Escape closes, and the focus returns to where
// it was.
import { useEffect, useRef } from 'preact/hooks';

export function Dialog({ title, onClose, children }) {
  const dialog = useRef(null);
  useEffect(() => {
    const before = document.activeElement;
    dialog.current.showModal();
    return () => before && before.focus && before.focus();
  }, []);
  return (
    <dialog
      ref={dialog}
      aria-labelledby="dialog-title"
      onClose={onClose}
      onClick={(event) => event.target === dialog.current && dialog.current.close()}
    >
      <div class="dialog-body">
        <h2 id="dialog-title">{title}</h2>
        {children}
      </div>
    </dialog>
  );
}
