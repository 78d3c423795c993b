/* SPDX-License-Identifier: Apache-2.0
 *
 * Pieces of HTML. Everything that is not ours is escaped.
 */
#ifndef MAL_HTTP_HTML_H
#define MAL_HTTP_HTML_H

#include "view/buffer.h"

#include <stdint.h>

struct http_html_page {
    const char *title; /* escaped here */
    const char *home;  /* where the script begins, as the part of the address behind '#'; "" home */
};

/* The head of a page with the script and the style that this program carries, up to the begin of
 * <main>; and its end. */
void http_html_begin(struct view_buffer *out, const struct http_html_page *page);
void http_html_end(struct view_buffer *out);

void http_html_escaped(struct view_buffer *out, const char *text);
/* "1.21 GiB" with the exact number as the title. */
void http_html_size(struct view_buffer *out, uint64_t bytes);
/* A cell of a table with a size or a count in it. */
void http_html_size_cell(struct view_buffer *out, uint64_t bytes);
void http_html_count_cell(struct view_buffer *out, uint64_t count);
/* "2026-11-23 04:05:06 UTC"; nothing for 0. */
void http_html_time(struct view_buffer *out, uint64_t unix_ns);
/* <table> with a caption and a head of such column names, which end with NULL, up to <tbody>. */
void http_html_table(struct view_buffer *out, const char *caption, const char *const *columns);
void http_html_table_end(struct view_buffer *out);

#endif
