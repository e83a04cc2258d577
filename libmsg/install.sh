#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Installs the C library: headers, libmsg.so.0 and its links, libmsg.a, pkg-config file, man pages.
#
#     cargo build --release && libmsg/install.sh --prefix /usr/local
set -eu

usage() {
    cat <<END
usage: install.sh [--prefix DIR] [--libdir DIR] [--destdir DIR] [--from DIR]

  --prefix DIR   where it will be used from [/usr/local]
  --libdir DIR   where libraries go [PREFIX/lib]; give /usr/lib/x86_64-linux-gnu on Debian
  --destdir DIR  put before every path that is written, for packages [nothing]
  --from DIR     where cargo built libmsg.so and libmsg.a [target/release of this source tree]
END
}

here=$(cd "$(dirname "$0")" && pwd)
prefix=/usr/local
libdir=
destdir=
from=${CARGO_TARGET_DIR:-$here/../target}/release

while [ $# -gt 0 ]; do
    case $1 in
    --prefix=* | --libdir=* | --destdir=* | --from=*)
        name=${1%%=*}
        value=${1#*=}
        shift
        set -- "$name" "$value" "$@"
        ;;
    --prefix | --libdir | --destdir | --from)
        if [ $# -lt 2 ]; then
            echo "install.sh: $1 takes a directory" >&2
            exit 2
        fi
        case $1 in
        --prefix) prefix=$2 ;;
        --libdir) libdir=$2 ;;
        --destdir) destdir=$2 ;;
        --from) from=$2 ;;
        esac
        shift 2
        ;;
    -h | --help)
        usage
        exit 0
        ;;
    *)
        echo "install.sh: unknown option $1" >&2
        usage >&2
        exit 2
        ;;
    esac
done

case $prefix in
/*) ;;
*)
    echo "install.sh: --prefix takes an absolute path, not $prefix" >&2
    exit 2
    ;;
esac
libdir=${libdir:-$prefix/lib}
include=$prefix/include
man=$prefix/share/man/man3
version=$(sed -n 's/^#define MSG_VERSION "\(.*\)"$/\1/p' "$here/include/libmsg.h")
soname=libmsg.so.${version%%.*}

for built in libmsg.so libmsg.a; do
    if [ ! -f "$from/$built" ]; then
        echo "install.sh: no $from/$built: cargo build --release first" >&2
        exit 1
    fi
done

# Beside the old one and then renamed over it: programs that run keep the library that they have mapped.
put() {
    mode=$1 source=$2 target=$destdir$3
    install -d "$(dirname "$target")"
    install -m "$mode" "$source" "$target.new"
    mv -f "$target.new" "$target"
}

put 644 "$here/include/libmsg.h" "$include/libmsg.h"
put 644 "$here/include/libmsg.hpp" "$include/libmsg.hpp"
put 644 "$here/include/send_msg.h" "$include/send_msg.h"
put 755 "$from/libmsg.so" "$libdir/libmsg.so.$version"
ln -sf "libmsg.so.$version" "$destdir$libdir/$soname"
ln -sf "$soname" "$destdir$libdir/libmsg.so"
put 644 "$from/libmsg.a" "$libdir/libmsg.a"
for page in "$here"/man/*.3; do
    put 644 "$page" "$man/$(basename "$page")"
done
# Every function has a page: where it has none of its own, that of the library.
for call in $(sed -n 's/^\.F[no] \(msg_[a-z_]*\).*/\1/p' "$here/man/libmsg.3"); do
    [ -f "$here/man/$call.3" ] || echo ".so man3/libmsg.3" > "$destdir$man/$call.3"
done
for call in msg_init msg_exit; do
    echo ".so man3/send_msg.3" > "$destdir$man/$call.3"
done

install -d "$destdir$libdir/pkgconfig"
# Paths below the prefix are written so that the whole can be moved.
cat > "$destdir$libdir/pkgconfig/libmsg.pc" <<END
prefix=$prefix
libdir=$(printf '%s' "$libdir" | sed "s|^$prefix/|\${prefix}/|")
includedir=\${prefix}/include

Name: libmsg
Description: Messages between processes that end in exactly one outcome, through msgd
Version: $version
Libs: -L\${libdir} -lmsg
Libs.private: -lpthread -ldl -lm
Cflags: -I\${includedir}
END
chmod 644 "$destdir$libdir/pkgconfig/libmsg.pc"
