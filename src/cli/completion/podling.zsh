#compdef podling
# Completion of podling for zsh. To be sourced after compinit: source <(podling completion zsh)
_podling() {
  local -a found
  found=("${(@f)$("$words[1]" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ $found[1] == :files ]]; then
    _files
  elif [[ -n $found[1] ]]; then
    compadd -a found
  fi
}
compdef _podling podling
