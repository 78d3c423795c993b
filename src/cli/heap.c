/* SPDX-License-Identifier: Apache-2.0
 *
 * mallard heap, mallard allocs: one process's profile to a file or a pipe, without HTTP.
 *
 * Both are one function; which of the two profiles is meant is the name of the command.
 *
 * SYNCHRONIZATION  One thread.
 */
#include "cli/cli.h"
#include "cli/load.h"
#include "cli/processes.h"

#include "view/view.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXT = 1u << 0 };

static int render_text(struct mal_box_reader *reader, const struct mal_snapshot *snapshot,
                       struct view_symbols *symbols, struct view_buffer *out) {
    struct mal_box_stats *stats = malloc(sizeof *stats);
    int error = stats != NULL ? mal_reader_stats(reader, stats) : -ENOMEM;
    if (error == 0)
        error = view_heap_text(snapshot, stats, symbols, out);
    free(stats);
    return error;
}

static int render(struct mal_box_reader *reader, enum view_heap_kind kind, unsigned flags,
                  struct view_symbols *symbols, struct view_buffer *out) {
    struct mal_snapshot *snapshot;
    int error = mal_reader_snapshot(reader, &snapshot);
    if (error < 0)
        return error;
    error = flags & TEXT ? render_text(reader, snapshot, symbols, out)
                         : view_heap_proto(snapshot, symbols, kind, out);
    mal_snapshot_free(snapshot);
    return error;
}

struct request {
    const char *name; /* of the command */
    const char *process;
    const char *path; /* as given; NULL: not */
    const char *keep;
    unsigned flags;
};

/* Where to write: to standard output, unless that is a terminal and the profile is not text. */
static const char *output_path(const struct request *request, char *default_path, size_t bytes) {
    const char *slash = strrchr(request->process, '/');
    if (request->path != NULL)
        return strcmp(request->path, "-") == 0 ? NULL : request->path;
    if (request->flags & TEXT || !isatty(STDOUT_FILENO))
        return NULL;
    snprintf(default_path, bytes, "mallard.%s.%s.pb.gz",
             slash != NULL ? slash + 1 : request->process, request->name);
    return default_path;
}

static enum view_heap_kind kind_of(const struct request *request) {
    return strcmp(request->name, "allocs") == 0 ? VIEW_ALLOCS : VIEW_HEAP;
}

static int make_from_box(const struct request *request, const struct cli_keeps *keeps,
                         struct mal_box_reader *reader, struct view_buffer *out) {
    struct view_symbols *symbols;
    cli_progress("reading the heap of %s ...", request->process);
    int error = cli_keeps_symbols(keeps, &symbols);
    if (error == 0) {
        error = render(reader, kind_of(request), request->flags, symbols, out);
        view_symbols_destroy(symbols);
    }
    cli_progress_end();
    if (error < 0)
        cli_say("the profile of %s cannot be made: %s", request->process, cli_words(error));
    return error;
}

/* A stored profile as it lies there. */
static int make_from_store(const struct request *request, const char *folder, uint64_t unix_s,
                           struct view_buffer *out) {
    if (!(request->flags & TEXT) && kind_of(request) == VIEW_HEAP)
        return load_stored_bytes(folder, request->process, unix_s, out);
    cli_say("what is stored of %s are heap profiles: 'mallard heap %s' without --text",
            request->process, request->process);
    return -ENOENT;
}

static int make(const struct request *request, const struct cli_keeps *keeps,
                struct view_buffer *out) {
    char name[LOAD_NAME_BYTES];
    uint64_t unix_s = UINT64_MAX;
    struct cli_process process;
    int split = load_split(request->process, name, &unix_s);
    int error =
        split == -EINVAL ? split : cli_find(keeps, split == 0 ? name : request->process, &process);
    if (error < 0)
        return error;
    error = split == 0 || process.reader == NULL
                ? make_from_store(request, process.folder, unix_s, out)
                : make_from_box(request, keeps, process.reader, out);
    cli_process_close(&process);
    return error;
}

static int write_profile(const struct request *request) {
    struct cli_keeps keeps;
    struct view_buffer out = {0};
    char default_path[PATH_MAX];
    const char *path = output_path(request, default_path, sizeof default_path);
    int error = cli_keeps_open(request->keep, &keeps);
    if (error == 0)
        error = make(request, &keeps, &out);
    if (error == 0)
        error = cli_write(path, out.data, out.bytes);
    if (error == 0 && path == default_path)
        cli_say("wrote %s", path);
    view_buffer_free(&out);
    cli_keeps_close(&keeps);
    return error < 0 ? CLI_FAILED : CLI_OK;
}

static int run_heap(const struct cli_command *command, int count, char **arguments) {
    struct request request = {.name = command->name};
    const struct cli_option known[] = {{"--output", "-o", &request.path, 0},
                                       {"--keep", NULL, &request.keep, 0},
                                       {"--text", NULL, NULL, TEXT}};
    struct cli_options options = {known, MAL_COUNT_OF(known), 0};
    int parsed = cli_parse_one(command, &options, count, arguments, &request.process);
    if (parsed < 0)
        return cli_parse_status(parsed);
    if (request.process == NULL)
        return cli_usage(command, "%s needs a process id or the path of a box", command->name);
    request.flags = options.flags;
    return write_profile(&request);
}

#define OPTIONS_HELP(name)                                                                         \
    "BOX is the path of a box that a process left. Without a file it goes to standard output, "    \
    "or\n"                                                                                         \
    "to ./mallard.PID." name ".pb.gz when that is a terminal.\n\n"                                 \
    "  -o, --output FILE   write there; - is standard output\n"                                    \
    "  --text              the text form, with the statistics behind it\n"                         \
    "  --keep DIR          look for dead processes in DIR; see 'mallard help ps'\n\n"              \
    "Read it with 'go tool pprof FILE' or any tool that takes pprof's format.\n"

const struct cli_command cli_heap = {
    .name = "heap",
    .summary = "write one process's heap profile: what is live",
    .help = "usage: mallard heap PID|PID@TIME|BOX [-o FILE] [--text] [--keep DIR]\n\n"
            "The profile of live memory by call stack, gzipped, in pprof's format.\n"
            "PID@TIME is the one that mallardd stored last before TIME: 14:30, -10m or seconds\n"
            "since 1970.\n" OPTIONS_HELP("heap"),
    .run = run_heap,
};

const struct cli_command cli_allocs = {
    .name = "allocs",
    .summary = "write one process's allocation profile: all since its start",
    .help = "usage: mallard allocs PID|BOX [-o FILE] [--text] [--keep DIR]\n\n"
            "The profile of all memory ever allocated, by call stack, gzipped, in pprof's "
            "format.\n" OPTIONS_HELP("allocs"),
    .run = run_heap,
};
