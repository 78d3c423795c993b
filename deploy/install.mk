# What is installed where. Included by the Makefile.
#
# One table, INSTALLED, drives both `install` and `uninstall`, so neither can know a file that the
# other does not. The configuration belongs to the administrator once it is there: install never
# overwrites it, uninstall leaves it when it was changed. Of the folders, those called mallard and what
# is below them are ours to remove.
#
# Install never builds. Files that name places (the .pc, the units) are written for the PREFIX of the
# installation, which need not be that of the build.

SBINDIR ?= $(PREFIX)/sbin
SYSCONFDIR ?= /etc
MANDIR ?= $(PREFIX)/share/man
DOCDIR ?= $(PREFIX)/share/doc/mallard
BASHDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR ?= $(PREFIX)/share/zsh/site-functions
UNITDIR ?= $(PREFIX)/lib/systemd/system
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d

CONFIG_DIR := $(SYSCONFDIR)/mallard
EXAMPLES_DIR := $(DOCDIR)/examples
BDWGC_HEADERS := $(wildcard include/mallard/bdwgc/*.h include/mallard/bdwgc/gc/*.h)
MAN_PAGES := $(wildcard deploy/man/*.[1-8])
EXAMPLES := deploy/README.md $(wildcard deploy/prometheus/*.yml deploy/grafana/*.json deploy/parca/*.yaml \
        deploy/alloy/*.alloy deploy/container/* deploy/kubernetes/*)

# MODE:SOURCE:DESTINATION. Mode `places` is 644 with the names of places replaced.
INSTALLED = \
  755:$(CORE_SO):$(LIBDIR)/libmallard.so.$(VERSION) \
  755:$(GCLIB_SO):$(LIBDIR)/libmallard-gc.so.$(VERSION) \
  755:$(BDWGC_SO):$(LIBDIR)/libmallard-bdwgc.so.$(VERSION) \
  755:$(PLUGIN_SO):$(LIBDIR)/libmallard-http.so \
  644:$(OUT)/libmallard.a:$(LIBDIR)/libmallard.a \
  places:src/front/mallard.pc.in:$(LIBDIR)/pkgconfig/mallard.pc \
  places:src/gclib/mallard-gc.pc.in:$(LIBDIR)/pkgconfig/mallard-gc.pc \
  places:src/bdwgc/mallard-bdwgc.pc.in:$(LIBDIR)/pkgconfig/mallard-bdwgc.pc \
  $(foreach h,$(wildcard include/mallard/*.h),644:$(h):$(INCLUDEDIR)/mallard/$(notdir $(h))) \
  $(foreach h,$(BDWGC_HEADERS),644:$(h):$(INCLUDEDIR)/$(patsubst include/%,%,$(h))) \
  755:$(OUT)/mallard:$(BINDIR)/mallard \
  $(if $(DAEMON_SRC),755:$(OUT)/mallardd:$(SBINDIR)/mallardd) \
  $(foreach m,$(MAN_PAGES),644:$(m):$(MANDIR)/man$(subst .,,$(suffix $(m)))/$(notdir $(m))) \
  $(foreach c,$(wildcard deploy/completions/*.bash),644:$(c):$(BASHDIR)/$(basename $(notdir $(c)))) \
  $(foreach c,$(wildcard deploy/completions/_*),644:$(c):$(ZSHDIR)/$(notdir $(c))) \
  places:deploy/systemd/mallardd.service:$(UNITDIR)/mallardd.service \
  644:deploy/systemd/tmpfiles.conf:$(TMPFILESDIR)/mallard.conf \
  places:deploy/systemd/service-under-mallard.conf:$(EXAMPLES_DIR)/systemd/service-under-mallard.conf \
  $(foreach e,$(EXAMPLES),644:$(e):$(EXAMPLES_DIR)/$(patsubst deploy/%,%,$(e)))
# TARGET:LINK
INSTALLED_LINKS = \
  libmallard.so.$(VERSION):$(LIBDIR)/libmallard.so.$(SOVERSION) \
  libmallard.so.$(SOVERSION):$(LIBDIR)/libmallard.so \
  libmallard-gc.so.$(VERSION):$(LIBDIR)/libmallard-gc.so.$(SOVERSION) \
  libmallard-gc.so.$(SOVERSION):$(LIBDIR)/libmallard-gc.so \
  libmallard-bdwgc.so.$(VERSION):$(LIBDIR)/libmallard-bdwgc.so.$(SOVERSION) \
  libmallard-bdwgc.so.$(SOVERSION):$(LIBDIR)/libmallard-bdwgc.so \
  ../../libmallard-bdwgc.so.$(SOVERSION):$(LIBDIR)/mallard/bdwgc/libgc.so.1
CONFIG_FILE := deploy/mallardd.conf
INSTALLED_CONFIG = $(CONFIG_DIR)/mallardd.conf
PLACES = -e 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR)|; s|@INCLUDEDIR@|$(INCLUDEDIR)|; s|@VERSION@|$(VERSION)|' \
  -e 's|/usr/sbin/|$(SBINDIR)/|; s|/etc/mallard/|$(CONFIG_DIR)/|; s|/usr/lib/libmallard|$(LIBDIR)/libmallard|'

.PHONY: install uninstall deb
install: ## install under DESTDIR/PREFIX; never builds
	@for needed in $(filter $(OUT)/%,$(subst :, ,$(INSTALLED))); do \
	  test -e $$needed || { echo "$$needed is not built yet: run 'make' first" >&2; exit 1; }; done
	@set -e; for entry in $(INSTALLED); do \
	  mode=$${entry%%:*}; entry=$${entry#*:}; source=$${entry%%:*}; to="$(DESTDIR)$${entry#*:}"; \
	  case $$mode in \
	  places) install -d "$${to%/*}"; sed $(PLACES) $$source > "$$to"; chmod 644 "$$to" ;; \
	  *) install -D -m $$mode $$source "$$to" ;; \
	  esac; done
	@set -e; for link in $(INSTALLED_LINKS); do install -d "$(DESTDIR)$$(dirname "$${link#*:}")"; ln -sf $${link%%:*} "$(DESTDIR)$${link#*:}"; done
	@test -e "$(DESTDIR)$(INSTALLED_CONFIG)" || install -D -m 644 $(CONFIG_FILE) "$(DESTDIR)$(INSTALLED_CONFIG)"
	$(call say,INSTALL,$(DESTDIR)$(PREFIX))
uninstall: ## remove what install put there
	@for entry in $(INSTALLED) $(INSTALLED_LINKS); do rm -f "$(DESTDIR)$${entry##*:}"; done
	@config="$(DESTDIR)$(INSTALLED_CONFIG)"; test ! -e "$$config" || \
	  if cmp -s $(CONFIG_FILE) "$$config"; then rm -f "$$config"; else echo "kept, since it was changed: $$config"; fi
	@for entry in $(INSTALLED) $(INSTALLED_LINKS) :$(INSTALLED_CONFIG); do folder=$${entry##*:}; \
	  while folder=$${folder%/*}; case $$folder in */mallard|*/mallard/*) ;; *) false ;; esac; do \
	    rmdir "$(DESTDIR)$$folder" 2>/dev/null || break; \
	  done; done

DEB_HOST_MULTIARCH = $(shell dpkg-architecture -qDEB_HOST_MULTIARCH)
DEB_TREE := build/deb/tree
DEB_INSTALL = DESTDIR=$(DEB_TREE) PREFIX=/usr LIBDIR=/usr/lib/$(DEB_HOST_MULTIARCH) SYSCONFDIR=/etc \
  ZSHDIR=/usr/share/zsh/vendor-completions UNITDIR=/lib/systemd/system
deb: ## Debian packages in build/deb: libmallard0, libmallard-dev, mallard
	@$(DEPS) build deb
	@$(MAKE) --no-print-directory all
	@rm -rf build/deb
	@$(MAKE) --no-print-directory install $(DEB_INSTALL)
	@sh deploy/debian/build.sh $(DEB_TREE) build/deb
	@rm -rf $(DEB_TREE)
	@ls build/deb/*.deb
