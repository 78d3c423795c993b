/* SPDX-License-Identifier: Apache-2.0
 *
 * `mallard heap PID` and `mallard allocs PID`: a profile without HTTP, of the living and the dead.
 */
#include "cli/heap.h"

#include "cli/cli.h"
#include "view/view.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HELP(name, view)                                                                           \
    "Usage: mallard " name " [-o FILE] [--text] PID|FILE\n\n"                                      \
    "Writes the heap profile of a process, living or dead, for 'go tool pprof' (which shows " view \
    "\nby default). FILE is a box, as a killed process leaves it.\n\n"                              \
    "  -o FILE   write there; '-' is standard output; default: mallard.PID." name ".pb.gz\n"        \
    "  --text    the readable form that '?debug=1' gives, to standard output by default\n\n"        \
    "Exit status: 0, 1 no such box or not writable, 2 usage.\n"

struct request {
    enum view_heap_kind kind;
    const char *name; /* of the command, and in the default file name */
    const char *what;
    const char *output; /* NULL: the default */
    bool as_text;
};

static int render(struct mal_box_reader *reader, const struct request *request,
                  struct view_buffer *out) {
    static struct mal_box_stats stats;
    struct mal_snapshot *snapshot = NULL;
    struct view_symbols *symbols = NULL;
    int error = mal_reader_snapshot(reader, &snapshot);
    if (!error)
        error = view_symbols_create(&symbols);
    if (!error && request->as_text)
        error = mal_reader_stats(reader, &stats);
    if (!error)
        error = request->as_text ? view_heap_text(snapshot, &stats, symbols, out)
                                 : view_heap_proto(snapshot, symbols, request->kind, out);
    view_symbols_destroy(symbols);
    mal_snapshot_free(snapshot);
    return error;
}

static int write_all(int fd, const char *data, size_t bytes) {
    while (bytes > 0) {
        ssize_t done = write(fd, data, bytes);
        if (done < 0 && errno != EINTR)
            return -errno;
        if (done > 0) {
            data += done;
            bytes -= (size_t)done;
        }
    }
    return 0;
}

static int write_file(const char *path, const struct view_buffer *out) {
    if (strcmp(path, "-") == 0)
        return write_all(STDOUT_FILENO, out->data, out->bytes);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int error = write_all(fd, out->data, out->bytes);
    if (close(fd) != 0 && !error)
        error = -errno;
    return error;
}

int cli_write_heap(struct mal_box_reader *reader, const char *path) {
    struct request request = {.kind = VIEW_HEAP};
    struct view_buffer out = {0};
    int error = render(reader, &request, &out);
    if (!error)
        error = write_file(path, &out);
    view_buffer_free(&out);
    return error;
}

static int deliver(const struct request *request, const struct view_buffer *out) {
    char path[64];
    snprintf(path, sizeof path, "mallard.%.20s.%.10s.pb.gz",
             strrchr(request->what, '/') ? "box" : request->what, request->name);
    const char *target = request->output ? request->output : request->as_text ? "-" : path;
    int error = write_file(target, out);
    if (error)
        return cli_fail("%s cannot be written: %s", target, strerror(-error));
    if (strcmp(target, "-") != 0)
        fprintf(stderr, "%s: %zu bytes; go tool pprof %s\n", target, out->bytes, target);
    return CLI_OK;
}

static int answer(const struct request *request) {
    struct mal_box_reader *reader;
    struct view_buffer out = {0};
    int status = cli_open(request->what, &reader);
    if (status != CLI_OK)
        return status;
    cli_refresh(reader);
    int error = render(reader, request, &out);
    status = error ? cli_fail("%s cannot be read: %s", mal_reader_path(reader), strerror(-error))
                   : deliver(request, &out);
    view_buffer_free(&out);
    mal_reader_close(reader);
    return status;
}

static int parse(int argc, char **argv, struct request *request) {
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--text") == 0)
            request->as_text = true;
        else if (strcmp(argv[i], "-o") == 0 && i + 1 < argc)
            request->output = argv[++i];
        else if ((argv[i][0] == '-' && argv[i][1]) || request->what)
            return cli_misuse(request->name, "unexpected argument '%s'", argv[i]);
        else
            request->what = argv[i];
    }
    return request->what ? CLI_OK : cli_misuse(request->name, "which process?");
}

static int run_heap(int argc, char **argv) {
    struct request request = {.kind = VIEW_HEAP, .name = "heap"};
    if (cli_help_asked(&cli_heap, argc, argv))
        return CLI_OK;
    int status = parse(argc, argv, &request);
    return status == CLI_OK ? answer(&request) : status;
}

static int run_allocs(int argc, char **argv) {
    struct request request = {.kind = VIEW_ALLOCS, .name = "allocs"};
    if (cli_help_asked(&cli_allocs, argc, argv))
        return CLI_OK;
    int status = parse(argc, argv, &request);
    return status == CLI_OK ? answer(&request) : status;
}

const struct cli_command cli_heap = {"heap", run_heap, "write the profile of live memory",
                                     HELP("heap", "inuse_space")};
const struct cli_command cli_allocs = {"allocs", run_allocs, "write the profile of all allocations",
                                       HELP("allocs", "alloc_space")};
