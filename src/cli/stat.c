/* SPDX-License-Identifier: Apache-2.0
 *
 * mallard stat: one process's statistics, for people or as JSON.
 *
 * SYNCHRONIZATION  One thread.
 */
#include "cli/cli.h"
#include "cli/clip.h"
#include "cli/death.h"
#include "cli/processes.h"

#include "view/view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JSON = 1u << 0 };

/* A process that answers publishes first, so that the figures are of this moment. */
#define PUBLISH_TIMEOUT_MS 200

/* What a daemon found out about the end. NULL: nothing; the caller frees it. */
static char *known_sentence(const char *folder) {
    struct keep_facts facts;
    char *sentence = NULL;
    if (*folder == '\0' || keep_read_facts(folder, &facts) < 0)
        return NULL;
    if (facts.death != KEEP_DEATH_NONE && *facts.sentence != '\0')
        sentence = clip_printable(facts.sentence, strlen(facts.sentence));
    keep_facts_free(&facts);
    return sentence;
}

/* The end in words: a daemon's, else what `mallard run` noted in the box. NULL: neither. */
static char *ending_of(const struct cli_process *process, const struct mal_status *status) {
    char *sentence = known_sentence(process->folder);
    char state[DEATH_BYTES];
    if (sentence != NULL || !status->reaped)
        return sentence;
    death_of_status(status, state);
    return asprintf(&sentence, "ended by %s", state) < 0 ? NULL : sentence;
}

static int render(const struct cli_process *found, unsigned flags, struct view_buffer *out) {
    struct mal_box_reader *reader = found->reader;
    struct view_process process = {0};
    int64_t result;
    mal_reader_command(reader, MAL_BOX_CMD_PUBLISH, 0, PUBLISH_TIMEOUT_MS, &result);
    int error = mal_reader_stats(reader, &process.stats);
    if (error < 0 || flags & JSON)
        return error < 0 ? error : view_memstats_json(&process.stats, out);
    error = mal_reader_status(reader, &process.status);
    if (error == 0)
        error = mal_reader_identity(reader, &process.identity);
    if (error < 0)
        return error;
    char *ending = ending_of(found, &process.status);
    error = view_stat_text(&process, ending, out);
    free(ending);
    mal_identity_free(&process.identity);
    return error;
}

static int answer(const struct cli_process *process, const char *text, unsigned flags) {
    struct view_buffer out = {0};
    int error = render(process, flags, &out);
    if (error < 0)
        cli_say("the statistics of process %s cannot be read", text);
    else
        error = cli_write(NULL, out.data, out.bytes);
    view_buffer_free(&out);
    return error;
}

static int find_and_answer(const char *keep, const char *text, unsigned flags) {
    struct cli_process process;
    int error = cli_open(keep, text, &process);
    if (error < 0)
        return error;
    error = answer(&process, text, flags);
    cli_process_close(&process);
    return error;
}

static int run_stat(const struct cli_command *command, int count, char **arguments) {
    const char *keep = NULL;
    const char *pid;
    const struct cli_option known[] = {{"--keep", NULL, &keep, 0}, {"--json", NULL, NULL, JSON}};
    struct cli_options options = {known, MAL_COUNT_OF(known), 0};
    int parsed = cli_parse_one(command, &options, count, arguments, &pid);
    if (parsed < 0)
        return cli_parse_status(parsed);
    if (pid == NULL)
        return cli_usage(command, "stat needs a process id or the path of a box");
    return find_and_answer(keep, pid, options.flags) < 0 ? CLI_FAILED : CLI_OK;
}

const struct cli_command cli_stat = {
    .name = "stat",
    .summary = "where one process's memory is",
    .help =
        "usage: mallard stat PID|BOX [--json] [--keep DIR]\n\n"
        "Prints who the process is, what is resident, and where the bytes obtained from the\n"
        "system are; of a collected heap its size, cycles and pauses, too. Works for a process\n"
        "that was killed, and says why it died where mallardd found that out.\n\n"
        "  --json       Go's MemStats and every figure of Mallard's, as JSON\n"
        "  --keep DIR   look for dead processes in DIR; see 'mallard help ps'\n",
    .run = run_stat,
};
