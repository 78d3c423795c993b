/* SPDX-License-Identifier: Apache-2.0
 *
 * How processes ended, in a word.
 */
#ifndef MAL_CLI_DEATH_H
#define MAL_CLI_DEATH_H

#include "box/reader.h"
#include "keep/keep.h"

#define DEATH_BYTES 16

/* "running", "exited", "exit 3", "SIGKILL", "OOM", "killed" where nobody knows the signal. */
void death_of_status(const struct mal_status *status, char ret_text[DEATH_BYTES]);
void death_of_facts(const struct keep_facts *facts, char ret_text[DEATH_BYTES]);

/* "SIGSEGV", "SIG40". */
void death_signal_name(int signal, char ret_text[DEATH_BYTES]);

#endif
