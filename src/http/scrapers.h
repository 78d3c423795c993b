/* SPDX-License-Identifier: Apache-2.0
 *
 * What the server remembers of scrapers that want differences: per process and scraper, the marks
 * of the last answer. Bounded; the one that has not asked for the longest is forgotten first, and
 * is then answered as if it asked for the first time.
 */
#ifndef MAL_HTTP_SCRAPERS_H
#define MAL_HTTP_SCRAPERS_H

#include "http/source.h"
#include "view/view.h"

#define HTTP_SCRAPERS_MAX 1024u
#define HTTP_SCRAPERS_BYTES_MAX (16u << 20)

struct http_scrapers;

/* One scraper's view of one process. Several scrapers of one user that ask about one process tell
 * themselves apart by ?scraper=NAME; without it they share their differences. */
struct http_scraper {
    char id[HTTP_ID_BYTES];
    uint32_t viewer_uid;
    char name[32];
};

int http_scrapers_create(struct http_scrapers **ret_scrapers);
void http_scrapers_destroy(struct http_scrapers *scrapers); /* accepts NULL */

/* What was put last; the caller's to free, or to put again. NULL for none, or for no `scrapers`. */
struct view_marks *http_scrapers_take(struct http_scrapers *scrapers,
                                      const struct http_scraper *scraper);
/* Takes over `marks`, which may be NULL. */
void http_scrapers_put(struct http_scrapers *scrapers, const struct http_scraper *scraper,
                       struct view_marks *marks);

#endif
