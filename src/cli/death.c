/* SPDX-License-Identifier: Apache-2.0
 *
 * Words for ends. What `mallard run` noted in the box, or a daemon found out, says more than the
 * box alone, which only tells an exit from everything else.
 *
 * SYNCHRONIZATION  None needed.
 */
#include "cli/death.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

void death_signal_name(int signal, char ret_text[DEATH_BYTES]) {
    const char *name = sigabbrev_np(signal);
    if (name != NULL)
        snprintf(ret_text, DEATH_BYTES, "SIG%s", name);
    else
        snprintf(ret_text, DEATH_BYTES, "SIG%d", signal);
}

static void exit_text(int code, char ret_text[DEATH_BYTES]) {
    if (code == 0)
        snprintf(ret_text, DEATH_BYTES, "exited");
    else
        snprintf(ret_text, DEATH_BYTES, "exit %d", code);
}

void death_of_status(const struct mal_status *status, char ret_text[DEATH_BYTES]) {
    if (status->life == MAL_LIFE_ALIVE)
        snprintf(ret_text, DEATH_BYTES, "running");
    else if (status->life == MAL_LIFE_EXITED)
        exit_text(status->exit_code, ret_text);
    else if (status->reaped && WIFSIGNALED(status->wait_status))
        death_signal_name(WTERMSIG(status->wait_status), ret_text);
    else if (status->reaped && WIFEXITED(status->wait_status))
        exit_text(WEXITSTATUS(status->wait_status), ret_text);
    else
        snprintf(ret_text, DEATH_BYTES, "killed");
}

void death_of_facts(const struct keep_facts *facts, char ret_text[DEATH_BYTES]) {
    switch (facts->death) {
    case KEEP_DEATH_EXITED:
        exit_text(facts->exit_code, ret_text);
        break;
    case KEEP_DEATH_SIGNAL:
        death_signal_name(facts->signal, ret_text);
        break;
    case KEEP_DEATH_OOM:
        snprintf(ret_text, DEATH_BYTES, "OOM");
        break;
    case KEEP_DEATH_NONE:
    case KEEP_DEATH_UNKNOWN:
        snprintf(ret_text, DEATH_BYTES, "killed");
        break;
    }
}
