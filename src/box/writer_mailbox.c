/* SPDX-License-Identifier: Apache-2.0
 *
 * The process's side of the mailbox, the one part of a box that others write.
 *
 * Path up: wait for the number of a request to move on, read what it asks for, do it, answer with
 * the same number. Where two readers ask at once the later request counts.
 *
 * SYNCHRONIZATION. One server, the background thread, to which `answering` belongs. `request` and
 * `done` are futex words that both sides see: a reader fills in the order, then store-releases
 * `request`; the server fills in the result, then store-releases `done`.
 *
 * Must never trust what it reads further than a command's number and argument go.
 */
#include "box/writer.h"

#include "box/writer_private.h"

#include "base/atomic.h"
#include "os/futex.h"

#include <limits.h>

static uint32_t answering; /* number of the request being served */

static struct mal_box_mailbox *mailbox(void) {
    return mal_writer_section(MAL_BOX_MAILBOX);
}

bool mal_writer_await_request(uint64_t timeout_ns, enum mal_box_command *ret_command,
                              int64_t *ret_argument) {
    struct mal_box_mailbox *mail = mailbox();
    mal_store_release(&mail->served, 1u);
    uint32_t done = mal_load_relaxed(&mail->done);
    if (mal_load_acquire(&mail->request) == done)
        mal_futex_wait_shared(&mail->request, done, timeout_ns);
    answering = mal_load_acquire(&mail->request);
    if (answering == done)
        return false;
    *ret_command = (enum mal_box_command)mal_load_relaxed(&mail->command);
    *ret_argument = mal_load_relaxed(&mail->argument);
    return true;
}

void mal_writer_wake(void) {
    if (mal_writer_is_open())
        mal_futex_wake_shared(&mailbox()->request, INT_MAX);
}

void mal_writer_answer(int64_t result, int error) {
    struct mal_box_mailbox *mail = mailbox();
    mal_store_relaxed(&mail->result, result);
    mal_store_relaxed(&mail->error, error);
    mal_store_release(&mail->done, answering);
    mal_futex_wake_shared(&mail->done, INT_MAX);
}
