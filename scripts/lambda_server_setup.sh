#!/usr/bin/env bash
# Sets a GPU instance up as a Triton server with TensorRT-LLM, from this checkout. Run it on the instance:
#
#   export HF_TOKEN=...                                   # for gated weights; never an argument, never in a URL
#   scripts/lambda_server_setup.sh                        # Llama 3 8B Instruct, llmapi profile
#   scripts/lambda_server_setup.sh --profile engine --tp 2 --model meta-llama/Meta-Llama-3-70B-Instruct
#   scripts/lambda_server_setup.sh --dry-run ...          # print every command, run none
#   scripts/lambda_server_setup.sh --stop                 # stop the server (the instance goes on billing)
#
# Each step leaves a stamp and is left out the next time if what it depends on is the same: run it again after a failure
# and it goes on from there. The server listens on 127.0.0.1 alone; reach it with scripts/lambda_tunnel.sh.
{ set +x; } 2>/dev/null # were the shell told to print what it runs, it would print the token
set -euo pipefail

# Taken out of the environment at once: of all commands below, one alone gets it.
hub_token=${HF_TOKEN-}
unset HF_TOKEN HUGGING_FACE_HUB_TOKEN

IMAGE=nvcr.io/nvidia/tritonserver:25.12-trtllm-python-py3 # TensorRT-LLM 1.2.1, the last with both profiles
TRTLLM_VERSION=1.2
MIN_DRIVER=535 # of data-centre GPUs, by the release notes of that image
ENTRY=examples/agents/document_processor.py:DocumentProcessor.process
INPUTS=examples/data/documents.jsonl
CONTAINER=charter-triton
LLMAPI_PYTHON=/app/all_models/llmapi/tensorrt_llm/1

profile=llmapi model=meta-llama/Meta-Llama-3-8B-Instruct tp=1 gpu='' data='' image=$IMAGE venv='' dry='' stop=''
ports=8001:8000:8002 ready_timeout=1800 weights_gb=''

die() { # message
  echo "lambda_server_setup: error: $1" >&2
  exit 1
}

wrong() { # message
  echo "lambda_server_setup: error: $1 (see: $0 --help)" >&2
  exit 2
}

usage() {
  sed -n '2,/^{ set +x/p' "$0" | sed -e '$d' -e 's/^# \{0,1\}//'
  cat <<TEXT
Options:
  --profile llmapi|engine  load the weights directly (llmapi), or build an engine first (llmapi)
  --model ORG/NAME         on the hub ($model)
  --tp 1|2|4|8             GPUs of the model, tensor-parallel (1)
  --gpu NAME               what sizes are computed for, as charter compile --gpu (by nvidia-smi)
  --weights-gb N           size of the weights, for the check of the disk (known for Llama 3)
  --data DIR               persistent storage (the one file system below /lambda/nfs)
  --image NAME             container ($IMAGE)
  --ports G:H:M            gRPC, HTTP and metrics on 127.0.0.1 (8001:8000:8002)
  --ready-timeout S        seconds for the server to load (1800)
  --venv DIR               use this environment, in which Charter is installed, instead of making one
TEXT
}

parse() {
  while [ $# -gt 0 ]; do
    case "$1" in
      -h | --help)
        usage
        exit 0
        ;;
      --dry-run) dry=1 ;;
      --stop) stop=1 ;;
      --profile | --model | --tp | --gpu | --weights-gb | --data | --image | --ports | --ready-timeout | --venv)
        [ $# -gt 1 ] || wrong "$1 needs a value"
        case "$1" in
          --profile) profile=$2 ;;
          --model) model=$2 ;;
          --tp) tp=$2 ;;
          --gpu) gpu=$2 ;;
          --weights-gb) weights_gb=$2 ;;
          --data) data=$2 ;;
          --image) image=$2 ;;
          --ports) ports=$2 ;;
          --ready-timeout) ready_timeout=$2 ;;
          --venv) venv=$2 ;;
        esac
        shift
        ;;
      *) wrong "there is no option '$1'" ;;
    esac
    shift
  done
  case "$profile" in llmapi | engine) ;; *) wrong "there is no profile '$profile': llmapi or engine" ;; esac
  case "$tp" in 1 | 2 | 4 | 8) ;; *) wrong "--tp is '$tp': 1, 2, 4 or 8" ;; esac
  case "$model" in
    *://* | *@* | /* | -*) wrong "'$model' is no ORG/NAME of the hub" ;;
    */*) ;;
    *) wrong "'$model' is no ORG/NAME of the hub" ;;
  esac
  if [ -z "$weights_gb" ]; then
    case "$model" in *-8B*) weights_gb=16 ;; *-70B*) weights_gb=141 ;; *) weights_gb=60 ;; esac
  fi
  case "$weights_gb$ready_timeout" in *[!0-9]*) wrong "--weights-gb and --ready-timeout are whole numbers" ;; esac
  case "$ports" in *[!0-9:]* | *:*:*:*) wrong "--ports is '$ports': three numbers, G:H:M" ;; esac
  grpc=$(echo "$ports" | cut -s -d: -f1) http=$(echo "$ports" | cut -s -d: -f2) metrics=$(echo "$ports" | cut -s -d: -f3)
  for port in "$grpc" "$http" "$metrics"; do
    { [ -n "$port" ] && [ "${#port}" -le 5 ] && [ "$port" -ge 1 ] && [ "$port" -le 65535 ]; } ||
      wrong "--ports is '$ports': three numbers from 1 to 65535, G:H:M"
  done
}

# --- running and printing ------------------------------------------------------------------------------------------

heading() {
  echo
  echo "# $1"
}

run() { # a command; printed, and run unless this is a dry run
  printf '%q ' "$@" | sed 's/ $//'
  echo
  [ -n "$dry" ] || "$@"
}

step_done() { # step, what it depends on; whether it was carried out with just that
  [ -z "$dry" ] && [ -f "$work/$1.done" ] && [ "$(cat "$work/$1.done")" = "$2" ] && echo "done before: $1"
}

mark_done() { # step, what it depends on
  [ -n "$dry" ] || printf '%s' "$2" >"$work/$1.done"
}

as_root() {
  if [ -z "$dry" ] && [ "$(id -u)" = 0 ]; then run "$@"; else run sudo "$@"; fi
}

# --- steps -----------------------------------------------------------------------------------------------------------

choose_folders() {
  if [ -z "$data" ]; then
    for found in /lambda/nfs/*; do
      [ -d "$found" ] || continue
      [ -z "$data" ] || die "several file systems below /lambda/nfs (give --data DIR)"
      data=$found
    done
    if [ -z "$data" ]; then
      data=$HOME/charter
      echo "note: no persistent file system: $data ends with the instance (launch with --file-system, or give --data)" >&2
    fi
  fi
  slug=$(echo "${model%%/*}--${model#*/}" | tr '[:upper:]/' '[:lower:]-') # two organizations may use one name
  weights=$data/weights/$slug
  work=$data/$slug-$profile-tp$tp # what the container mounts as /models, and the stamps
  serve=$work/models
}

check_machine() {
  heading "GPU, driver, disk, docker"
  if [ -z "$dry" ]; then
    command -v nvidia-smi >/dev/null || die "nvidia-smi is missing: no NVIDIA driver (launch one of Lambda's own images)"
    command -v docker >/dev/null || die "docker is missing (Lambda's own images have it)"
  fi
  run nvidia-smi "--query-gpu=name,memory.total,driver_version" --format=csv,noheader ||
    die "nvidia-smi failed: the driver does not run (reboot the instance, or launch another)"
  local place=$data
  [ -n "$dry" ] || place=$(nearest_folder "$data")
  run df -Pk "$place"
  run docker --version
  if [ -n "$dry" ]; then
    [ -n "$gpu" ] || gpu=h100-sxm
    echo "# dry run: $tp x $gpu and room on the disk are taken for granted"
    return
  fi
  local listed count driver needed there free
  listed=$(nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader)
  count=$(echo "$listed" | wc -l)
  [ "$count" -ge "$tp" ] || die "--tp $tp, and nvidia-smi shows $count GPUs"
  driver=$(echo "$listed" | head -n 1 | sed 's/.*, *//')
  [ "${driver%%.*}" -ge "$MIN_DRIVER" ] || die "driver $driver is older than $MIN_DRIVER (launch a newer image)"
  [ -n "$gpu" ] || gpu=$(gpu_name "$(echo "$listed" | head -n 1 | cut -d, -f1)")
  # Weights; for an engine also the checkpoint and the engine itself. The container's image takes about 40 GB more.
  needed=$((weights_gb * profile_copies + 10))
  there=0
  [ ! -d "$weights" ] || there=$(du -sk "$weights" | awk '{ print int($1 / 1000000) }') # of a download, in part too
  [ "$there" -le "$weights_gb" ] || there=$weights_gb
  needed=$((needed - there))
  free=$(df -Pk "$place" | awk 'NR == 2 { print int($4 / 1000000) }')
  [ "$free" -ge "$needed" ] || die "$free GB are free at $data, about $needed GB are needed (give --data DIR)"
}

nearest_folder() { # the folder itself, or the nearest above it that exists
  local folder=$1
  until [ -d "$folder" ]; do folder=$(dirname "$folder"); done
  echo "$folder"
}

gpu_name() { # nvidia-smi's name; prints that of charter's table, or nothing
  case "$1" in
    *H100*PCIe*) echo h100-pcie ;;
    *H100*) echo h100-sxm ;;
    *GH200*) echo gh200 ;;
    *B200*) echo b200 ;;
    *A100*80GB*) echo a100-80gb ;;
    *A10) echo a10 ;;
    *) echo "note: '$1' is not in charter's table: sizes have safe defaults (--gpu NAME)" >&2 ;;
  esac
}

install_toolkit() {
  heading "NVIDIA container toolkit"
  docker=docker
  if [ -z "$dry" ]; then
    docker info >/dev/null 2>&1 || docker="sudo docker"
    if $docker info --format '{{json .Runtimes}}' 2>/dev/null | grep -q nvidia; then
      echo "docker has the nvidia runtime"
      return
    fi
  else
    echo "# only where docker has no nvidia runtime:"
  fi
  as_root apt-get update
  as_root apt-get install -y nvidia-container-toolkit ||
    die "apt has no nvidia-container-toolkit: add NVIDIA's repository, as its guide of the toolkit says, and run this again"
  as_root nvidia-ctk runtime configure --runtime=docker
  as_root systemctl restart docker
}

install_charter() {
  heading "Charter"
  if [ -n "$venv" ]; then
    echo "# the environment $venv is used"
    return
  fi
  venv=$data/venv
  local depends=''
  [ -n "$dry" ] || depends=$(cat constraints/core.txt pyproject.toml | sha256sum)
  if step_done charter "$depends"; then return; fi
  # shellcheck disable=SC2016 # printed, not run
  local python='$(tools/find_python.sh)'
  if [ -z "$dry" ] && ! python=$(tools/find_python.sh 2>/dev/null); then
    as_root apt-get update
    as_root apt-get install -y python3.11 python3.11-venv # Ubuntu 22.04 has an older one
    python=python3.11
  fi
  if [ -n "$dry" ]; then echo "$python -m venv $venv"; else run "$python" -m venv "$venv"; fi
  run "$venv/bin/python" -m pip install --quiet --require-hashes -r constraints/core.txt
  run "$venv/bin/python" -m pip install --quiet --no-deps --no-build-isolation --editable .
  mark_done charter "$depends"
}

fetch_weights() {
  heading "weights"
  if step_done weights "$model"; then return; fi
  run mkdir -p "$weights"
  if [ -z "$dry" ] && [ -z "$hub_token" ]; then
    case "$model" in
      meta-llama/*) die "the weights of $model are gated: accept their terms on the hub, then: export HF_TOKEN=..." ;;
    esac
  fi
  # hf goes on with files that are there in part. The older formats in original/ are not needed.
  local command=("$venv/bin/hf" download "$model" --local-dir "$weights" --exclude 'original/*')
  echo "# with HF_TOKEN in the environment of this command alone:"
  printf '%q ' "${command[@]}" | sed 's/ $//'
  echo
  [ -n "$dry" ] || HF_TOKEN=$hub_token "${command[@]}"
  mark_done weights "$model"
}

charter_code() { # a hash of what writes the repository
  find charter_compiler -name '*.py' -print0 | LC_ALL=C sort -z | xargs -0 cat | sha256sum | cut -c1-16
}

make_repository() {
  heading "plan and model repository"
  local plan=$work/plan sizes=configs/lambda_overrides.yaml depends=''
  if [ -z "$dry" ]; then
    depends="$model $profile=$TRTLLM_VERSION $tp $gpu $(cat "$ENTRY_FILE" "$INPUTS" $sizes | sha256sum) $(charter_code)"
  fi
  if step_done repository "$depends"; then return; fi
  run mkdir -p "$plan/config/local" "$serve"
  run cp $sizes "$plan/config/local/overrides.yaml"
  run "$venv/bin/charter" compile $ENTRY --inputs $INPUTS --limit 4 --layout \
    --engine "$profile=$TRTLLM_VERSION" ${gpu:+--gpu "$gpu"} --gpus "$tp" \
    --model "$weights" --model-files "$weights" -o "$plan"
  run "$venv/bin/charter" config check "$plan"
  run cp -R "$plan/config/local/$profile/." "$serve/"
  mark_done repository "$depends"
}

in_container() { # options and command of a container that ends; /models is the one folder that it sees
  # shellcheck disable=SC2086 # docker may be two words
  run $docker run --rm --gpus all --shm-size=2g --ulimit memlock=-1 -v "$serve:/models" -v "$weights:/models/weights:ro" \
    "$image" "$@"
}

build() {
  local depends=''
  if [ "$profile" = llmapi ]; then
    heading "Python of the Triton model, which comes with the container"
    [ -n "$dry" ] || depends="$model $image"
    if step_done build "$depends"; then return; fi
    in_container cp $LLMAPI_PYTHON/model.py $LLMAPI_PYTHON/helpers.py /models/repository/tensorrt_llm/1/
  else
    heading "engine: convert_checkpoint.py, trtllm-build"
    [ -n "$dry" ] || depends="$model $image $(sha256sum <"$serve/build.sh")"
    if step_done build "$depends"; then return; fi
    in_container sh /models/build.sh
  fi
  mark_done build "$depends"
}

start_server() {
  heading "server, on 127.0.0.1 alone"
  local label="charter.setup=$model $profile tp$tp $image $ports"
  if [ -z "$dry" ]; then
    label="$label $(cat "$work"/*.done | sha256sum | cut -c1-16)"
    # shellcheck disable=SC2086 # docker may be two words
    if [ "$($docker inspect -f '{{.State.Running}} {{index .Config.Labels "charter.setup"}}' $CONTAINER 2>/dev/null)" = \
      "true ${label#charter.setup=}" ]; then
      echo "it runs already"
      return
    fi
    $docker rm -f $CONTAINER >/dev/null 2>&1 || true
  fi
  # shellcheck disable=SC2086 # docker may be two words
  run $docker run -d --name $CONTAINER --restart unless-stopped --label "$label" --gpus all \
    -e "CUDA_VISIBLE_DEVICES=$(seq -s , 0 $((tp - 1)))" --shm-size=2g --ulimit memlock=-1 \
    -v "$serve:/models" -v "$weights:/models/weights:ro" \
    -p "127.0.0.1:$http:8000" -p "127.0.0.1:$grpc:8001" -p "127.0.0.1:$metrics:8002" "$image" sh /models/tritonserver.sh
}

wait_until_ready() {
  heading "wait until it is ready, at most $ready_timeout s"
  local ask=(curl -sf --noproxy '*' -m 5 -o /dev/null "http://127.0.0.1:$http/v2/health/ready")
  if [ -n "$dry" ]; then
    run "${ask[@]}"
    return
  fi
  local begun=$SECONDS
  until "${ask[@]}"; do
    # shellcheck disable=SC2086 # docker may be two words
    if [ "$($docker inspect -f '{{.State.Running}}' $CONTAINER 2>/dev/null)" != true ]; then
      $docker logs --tail 40 $CONTAINER >&2 || true
      die "the container ended (its log is above)"
    fi
    if [ $((SECONDS - begun)) -ge "$ready_timeout" ]; then
      $docker logs --tail 40 $CONTAINER >&2 || true
      die "not ready within $ready_timeout s (its log is above; larger models need --ready-timeout)"
    fi
    sleep 2
  done
  echo "ready after $((SECONDS - begun)) s"
}

smoke_test() {
  heading "smoke test: of two requests with one prefix the second must find it in the cache"
  local block='' set=()
  if [ "$profile" = llmapi ]; then
    block='TOKENS_PER_BLOCK_OF_model.yaml'
    [ -n "$dry" ] || block=$(sed -n 's/^ *tokens_per_block: *//p' "$serve/repository/tensorrt_llm/1/model.yaml")
    set=(--set "cache.tokens_per_block=$block")
  fi
  run "$venv/bin/python" scripts/run_lambda_tests.py --only prepopulation --set tests.prepopulation.calls=1 \
    --set "tests.prepopulation.prefix_words=${CHARTER_SMOKE_WORDS:-300}" \
    --set "thresholds.prepopulation={min_hit_rate: 0.5}" \
    ${set[@]+"${set[@]}"} --url "127.0.0.1:$grpc" --http-url "http://127.0.0.1:$http" \
    --metrics-url "http://127.0.0.1:$metrics/metrics"
  heading "next, on the laptop"
  cat <<TEXT
#   . .venv/bin/activate
#   scripts/lambda_tunnel.sh start --host ADDRESS_OF_THIS_INSTANCE
#   scripts/run_lambda_tests.py ${set[*]-}
#   scripts/benchmark_lambda.py --benchmark all ${set[*]-}
# The instance bills by the minute until it is terminated; to shut it down is not enough:
#   charter lambda list; charter lambda terminate ID
TEXT
}

stop_server() {
  local docker=docker
  docker info >/dev/null 2>&1 || docker="sudo docker"
  # shellcheck disable=SC2086 # docker may be two words
  run $docker rm -f $CONTAINER
  echo "# The instance goes on billing until: charter lambda terminate ID (on the laptop)"
}

parse "$@"
cd "$(dirname "$0")/.."
ENTRY_FILE=${ENTRY%%:*}
if [ "$profile" = engine ]; then profile_copies=3; else profile_copies=1; fi
if [ -n "$stop" ]; then
  stop_server
  exit 0
fi
choose_folders
check_machine
[ -n "$dry" ] || mkdir -p "$work" "$weights"
install_toolkit
install_charter
fetch_weights
make_repository
build
start_server
wait_until_ready
smoke_test
