/* SPDX-License-Identifier: Apache-2.0
 *
 * The index page, in the shape that Go 1.19 gives it: scripts take it apart by its table rows.
 * The descriptions say what a C program gets.
 */
#include "base/attr.h"
#include "view/view.h"

#include <errno.h>

struct entry {
    const char *name;
    bool counted; /* shows the number of buckets */
    const char *description;
};

static const struct entry entries[] = {
    {"allocs", true, "A sampling of all past memory allocations"},
    {"block", false,
     "Stack traces that led to blocking on synchronization primitives. Not recorded: empty."},
    {"cmdline", false, "The command line invocation of the current program"},
    {"goroutine", false, "Stack traces of all current goroutines. A C program has none: empty."},
    {"heap", true,
     "A sampling of memory allocations of live objects. You can specify the gc GET parameter to "
     "run GC before taking the heap sample."},
    {"mutex", false, "Stack traces of holders of contended mutexes. Not recorded: empty."},
    {"profile", false,
     "CPU profile. You can specify the duration in the seconds GET parameter. Not recorded: "
     "empty."},
    {"threadcreate", false,
     "Stack traces that led to the creation of new OS threads. Not recorded: empty."},
    {"trace", false, "A trace of execution of the current program. Not available."},
};

static const char head[] = "<html>\n"
                           "<head>\n"
                           "<title>/debug/pprof/</title>\n"
                           "<style>\n"
                           ".profile-name{\n"
                           "\tdisplay:inline-block;\n"
                           "\twidth:6rem;\n"
                           "}\n"
                           "</style>\n"
                           "</head>\n"
                           "<body>\n"
                           "/debug/pprof/<br>\n"
                           "<br>\n"
                           "Types of profiles available:\n"
                           "<table>\n"
                           "<thead><td>Count</td><td>Profile</td></thead>\n";

int view_index_html(const struct mal_snapshot *snapshot, struct view_buffer *out) {
    view_buffer_text(out, head);
    for (size_t i = 0; i < MAL_COUNT_OF(entries); i++)
        view_buffer_printf(out, "<tr><td>%zu</td><td><a href='%s?debug=1'>%s</a></td></tr>\n",
                           entries[i].counted ? snapshot->bucket_count : 0, entries[i].name,
                           entries[i].name);
    view_buffer_text(out, "</table>\n"
                          "<a href=\"goroutine?debug=2\">full goroutine stack dump</a>\n"
                          "<br>\n"
                          "<p>\n"
                          "Profile Descriptions:\n"
                          "<ul>\n");
    for (size_t i = 0; i < MAL_COUNT_OF(entries); i++)
        view_buffer_printf(out, "<li><div class=profile-name>%s: </div> %s</li>\n", entries[i].name,
                           entries[i].description);
    view_buffer_text(out, "</ul>\n</p>\n</body>\n</html>");
    return out->failed ? -ENOMEM : 0;
}
