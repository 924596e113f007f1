#!/bin/sh
# Checks that Spark will use Java 17 or newer; otherwise installs it with apt-get.
set -eu

NEEDED=17
tools=$(dirname "$0")

# The major version of a java command; 0 if it does not run (macOS has a java that only complains).
version_of() {
    text=$("$1" -version 2>&1) || text=
    major=$(printf '%s\n' "$text" | sed -n 's/.* version "\(1\.\)\{0,1\}\([0-9]*\).*/\2/p' | head -n 1)
    echo "${major:-0}"
}

# Spark uses JAVA_HOME, or PATH if that is not set.
spark_java() {
    if [ -n "${JAVA_HOME:-}" ]; then
        echo "$JAVA_HOME/bin/java"
    else
        command -v java || true
    fi
}

# The home of any sufficiently new Java on this machine.
find_home() {
    for java in \
        "$(command -v java || true)" \
        "$(/usr/libexec/java_home -F -v "$NEEDED+" 2>/dev/null || true)/bin/java" \
        /usr/lib/jvm/*/bin/java \
        /opt/homebrew/opt/openjdk*/libexec/openjdk.jdk/Contents/Home/bin/java \
        /usr/local/opt/openjdk*/libexec/openjdk.jdk/Contents/Home/bin/java; do
        if [ -x "$java" ] && [ "$(version_of "$java")" -ge "$NEEDED" ]; then
            "$java" -XshowSettings:properties -version 2>&1 | sed -n 's/^ *java\.home = //p'
            return
        fi
    done
}

check() {
    java=$(spark_java)
    if [ -n "$java" ] && [ "$(version_of "$java")" -ge "$NEEDED" ]; then
        exit 0
    fi
    home=$(find_home)
    if [ -n "$home" ]; then
        explain
        echo "A Java that is new enough is in $home. Run this line, then run make again:" >&2
        echo "    export JAVA_HOME=\"$home\"" >&2
        exit 1
    fi
}

explain() {
    if [ -z "$java" ]; then
        echo "Spark needs Java $NEEDED or newer, and there is no java on PATH." >&2
    elif [ "$(version_of "$java")" = 0 ]; then
        echo "Spark needs Java $NEEDED or newer, and would take $java, which does not run." >&2
    else
        echo "Spark needs Java $NEEDED or newer, and would take $java, which is Java $(version_of "$java")." >&2
    fi
}

check
explain
sh "$tools/package.sh" "openjdk@$NEEDED" openjdk-17-jre-headless openjdk-21-jre-headless
check
echo "Java was installed, but cannot be found. Set JAVA_HOME to its folder, then run make again." >&2
exit 1
