# Unseal's image: one for all processes, with a command for each.
#
#   docker build --tag unseal:0.1.0 .
#   docker run --rm unseal:0.1.0 --help
#
# NODE_IMAGE may be any image with glibc, npm, and Node 26 as /usr/local/bin/node.
ARG NODE_IMAGE=docker.io/library/node:26.10.0-trixie-slim

# The packages, as "npm run pack" makes them, installed with the versions of package-lock.json for production alone.
FROM ${NODE_IMAGE} AS build
WORKDIR /build
COPY . .
RUN npm run pack && node scripts/release/locked-install.mjs dist /app && rm /app/*.tgz

FROM ${NODE_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Unseal" \
      org.opencontainers.image.description="Decrypts encrypted OpenTok and Vonage Video archives: a queue and any number of workers" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# A user of its own, without a home that anybody could write to. What is needed only to build is removed, and no program can
# change its user.
RUN echo 'unseal:x:10001:10001:Unseal:/home/unseal:/usr/sbin/nologin' >> /etc/passwd && \
    echo 'unseal:x:10001:' >> /etc/group && \
    mkdir -p /home/unseal /var/lib/unseal/keys /var/lib/unseal/callbacks /var/lib/unseal/vendor && \
    chown -R 10001:10001 /var/lib/unseal && chmod -R 700 /var/lib/unseal && \
    rm -rf /usr/local/lib/node_modules /usr/local/include /opt/yarn* \
           /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/yarn /usr/local/bin/yarnpkg /usr/local/bin/corepack && \
    find / -xdev -type f -perm /6000 -exec chmod a-s {} +
COPY --from=build /app /app
WORKDIR /app
# With a HOME, the SDKs' search for credentials works under any user id, even one that /etc/passwd lacks.
ENV NODE_ENV=production \
    NODE_DISABLE_COMPILE_CACHE=1 \
    HOME=/home/unseal \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/app/node_modules/.bin
USER 10001:10001
EXPOSE 8080 8082 9090 9091
# Node is process 1: it takes the signals itself.
ENTRYPOINT ["/usr/local/bin/node", "/app/node_modules/.bin/unseal"]
CMD ["--help"]
